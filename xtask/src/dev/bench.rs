//! `bench`: measures how long it takes to make an image, compared to other ways. All are measured
//! in one run, because machines are noisy: the ratios count, not the seconds.

mod daily;
mod formats;
mod rivals;
mod synthetic;

use anyhow::Context;
use camino::{Utf8Path, Utf8PathBuf};
use docker_to_linux::cleanup::Guard;
use docker_to_linux::cli::Console;
use docker_to_linux::cli::print;
use docker_to_linux::engine::{self, Engine};
use docker_to_linux::error::Report;
use docker_to_linux::model::size::Size;
use docker_to_linux::recipe;
use docker_to_linux::shell::quote;
use fs_err as fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Options of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask image debian && cargo xtask bench
  cargo xtask bench --from rootfs.tar --runs 7
  cargo xtask bench --only ways --files 300000
  cargo xtask bench --only loop --runs 3")]
pub(crate) struct Args {
    /// Recipe to make an image of
    #[arg(default_value = "debian")]
    recipe: String,
    /// Tar of its root file system [default: exported from the engine's image of the recipe]
    #[arg(long, value_name = "TAR")]
    from: Option<Utf8PathBuf>,
    /// Add this many small files to the root file system, to see what each of them costs
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    files: u64,
    /// Number of measurements of each way; the median counts
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Measure only one of the tables
    #[arg(long)]
    only: Option<Table>,
    /// Folder with the boot loaders' files, like `image --bootloader-dir`
    #[arg(long, value_name = "DIR")]
    bootloader_dir: Option<Utf8PathBuf>,
}

/// The groups that can be measured separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Table {
    Ways,
    Formats,
    /// An image that is made again after a change
    Loop,
}

/// Folder for all files, on the same file system as images would be.
const DIR: &str = "target/bench";

/// One way to make an image or a format.
struct Way {
    name: &'static str,
    /// Preparation that is repeated for each run and not measured.
    prepare: Option<&'static str>,
    /// The shell command that is measured.
    command: String,
    /// Command that is run once after the first run and not measured.
    once: Option<String>,
    /// Why it cannot be measured here, if so.
    skipped: Option<&'static str>,
    times: Vec<Duration>,
    peak: u64,
    /// Size of its files on the disk in the last run, in bytes.
    size: u64,
}

impl Way {
    fn new(name: &'static str, command: impl Into<String>) -> Way {
        Way {
            name,
            prepare: None,
            command: command.into(),
            once: None,
            skipped: None,
            times: Vec::new(),
            peak: 0,
            size: 0,
        }
    }

    fn median(&self) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).map(Duration::as_secs_f64)
    }

    /// How many times as long as `other` it took: the median of the rounds' ratios, because
    /// conditions are similar within a round but change between rounds.
    fn ratio(&self, other: &Way) -> Option<f64> {
        let rounds = self.times.iter().zip(&other.times);
        let mut ratios: Vec<f64> = rounds
            .map(|(a, b)| a.as_secs_f64() / b.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }
}

pub(super) fn run(args: &Args, console: Console) -> anyhow::Result<()> {
    let dir = Utf8Path::new(DIR);
    // Files of an interrupted run must not be measured.
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    let _clean = Guard::new(|| {
        let _ = std::fs::remove_dir_all(DIR);
    });
    let found = recipe::find(&args.recipe)?;
    let engine = Engine::find(None).ok();
    if args.only == Some(Table::Loop) {
        let engine = engine.context("a container engine is needed for this table")?;
        let table = daily::run(&found, &engine, args.runs, dir, console)?;
        return print(&table);
    }
    let image = engine::tag(&found.name, engine::host_arch());
    let tar = tar_of(args, engine.as_ref(), &image, dir, console)?;
    // What the engine exports lacks the files that were added.
    let engine = engine
        .as_ref()
        .filter(|e| args.files == 0 && e.has_image(&image));
    let entries = entries(&tar)?;
    let (mut ways, mut formats) = ways(args, engine, &image, (&tar, entries))?;
    match args.only {
        Some(Table::Ways) => formats.clear(),
        Some(Table::Formats) => ways.clear(),
        // It was measured alone.
        Some(Table::Loop) | None => {}
    }
    for round in 0..args.runs {
        console.stage(&format!("round {} of {}", round + 1, args.runs));
        let all = ways.iter_mut().chain(&mut formats);
        for way in all.filter(|w| w.skipped.is_none()) {
            measure(way, dir, &tar)?;
        }
    }
    if !ways.is_empty() {
        print(&table(&ways, (&tar, entries))?)?;
    }
    if !formats.is_empty() {
        print(&formats::table(&formats))?;
    }
    Ok(())
}

/// The tar of the root file system: given by the user, or exported here.
fn tar_of(
    args: &Args,
    engine: Option<&Engine>,
    image: &str,
    dir: &Utf8Path,
    console: Console,
) -> anyhow::Result<Utf8PathBuf> {
    let path = dir.join("rootfs.tar");
    if let Some(from) = &args.from {
        let from = from.canonicalize_utf8().context("opening --from")?;
        if args.files == 0 {
            return Ok(from);
        }
        fs::copy(&from, &path)?;
        synthetic::add(&path, args.files)?;
        return Ok(path.canonicalize_utf8()?);
    }
    let engine = engine.filter(|e| e.has_image(image)).ok_or_else(|| {
        Report::mistake(format!(
            "the engine has no image of the recipe {}",
            args.recipe
        ))
        .hint(format!(
            "run `cargo xtask image {}` first, or use --from rootfs.tar",
            args.recipe
        ))
    })?;
    console.stage(&format!("exporting {image}"));
    let mut file = fs::File::create(&path)?;
    std::io::copy(&mut engine::export(engine, image)?, &mut file).context("exporting")?;
    if args.files > 0 {
        synthetic::add(&path, args.files)?;
    }
    Ok(path.canonicalize_utf8()?)
}

/// Number of entries of a tar.
fn entries(tar: &Utf8Path) -> anyhow::Result<u64> {
    let mut archive = tar::Archive::new(fs::File::open(tar)?);
    let mut entries = 0;
    for entry in archive.entries_with_seek()? {
        entry?;
        entries += 1;
    }
    Ok(entries)
}

/// The two ways whose ratio is the cost of UEFI.
const BIOS: &str = "**image from a tar, BIOS**";
const HYBRID: &str = "**image from a tar, BIOS and UEFI**";

/// All ways, in the order of the tables: to make an image, and to write its formats.
fn ways(
    args: &Args,
    engine: Option<&Engine>,
    image: &str,
    (tar, entries): (&Utf8Path, u64),
) -> anyhow::Result<(Vec<Way>, Vec<Way>)> {
    let own: Utf8PathBuf = std::env::current_exe()?.try_into()?;
    let root = rustix::process::geteuid().is_root();
    // Other programs must be told a size: each file needs half a block more on average, and its
    // inode. The rest is for bitmaps and the journal.
    let bytes = fs::metadata(tar)?.len() * 5 / 4 + entries * 4096 + (64 << 20);
    let size = bytes.next_multiple_of(1 << 20) >> 20;
    let most = entries + 1_000_000;
    let loaders = match &args.bootloader_dir {
        Some(d) => format!(
            "--bootloader-dir {}",
            quote(d.canonicalize_utf8()?.as_str())
        ),
        None => String::new(),
    };
    let recipe = quote(&args.recipe);
    let q = quote(tar.as_str());
    let own = quote(own.as_str());
    let make = |from: &str, boot: &str| {
        format!(
            "{own} --quiet image --force {recipe} --from {from} --max-entries {most} --boot {boot} --output {DIR}/work --no-metadata {loaders} >/dev/null"
        )
    };
    let formats = formats::ways(&own, |options| {
        format!(
            "{own} --quiet image --force {recipe} --from {q} --max-entries {most} {options} --output {DIR}/work {loaders} >/dev/null"
        )
    });
    let mut ways = vec![
        Way::new(
            "`cat rootfs.tar > file`",
            format!("cat {q} >{DIR}/work/file"),
        ),
        Way::new(
            "the same, and `sync file`: on the disk, as an image is",
            format!("cat {q} >{DIR}/work/file && sync {DIR}/work/file"),
        ),
        Way::new(BIOS, make(&q, "bios")),
        Way::new(HYBRID, make(&q, "hybrid")),
    ];
    ways.extend(rivals::ways(&q, size, entries, root));
    if let Some(engine) = engine {
        let docker = quote(engine.path());
        let image = quote(image);
        let with = |rest: &str| {
            format!(
                "c=$({docker} create --network none {image} /bin/true) && trap '{docker} rm -f $c >/dev/null' EXIT && {docker} export $c {rest}"
            )
        };
        ways.push(Way::new(
            "`docker export > file`",
            with(&format!(">{DIR}/work/file")),
        ));
        ways.push(Way::new(
            "**image from the engine, BIOS and UEFI**",
            with(&format!("| {}", make("-", "hybrid"))),
        ));
    }
    Ok((ways, formats))
}

/// Runs one way once and measures it.
fn measure(way: &mut Way, dir: &Utf8Path, tar: &Utf8Path) -> anyhow::Result<()> {
    let work = dir.join("work");
    // Use a new folder each time, because file systems get slower after many deletions.
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    if let Some(prepare) = way.prepare {
        let tar = quote(tar.as_str());
        let command = prepare
            .replace("{dir}", work.as_str())
            .replace("{tar}", &tar);
        anyhow::ensure!(shell(&command).status()?.success(), "{command} failed");
    }
    rustix::fs::sync();
    let begun = Instant::now();
    let mut child = shell(&way.command).spawn().context("starting sh")?;
    let (ok, peak) = watch(&mut child)?;
    way.times.push(begun.elapsed());
    way.peak = way.peak.max(peak);
    way.size = taken(&work)?;
    if !ok {
        return Err(
            Report::failure(format!("measuring {}: `{}` failed", way.name, way.command)).into(),
        );
    }
    if let Some(once) = way.once.take() {
        anyhow::ensure!(shell(&once).status()?.success(), "{once} failed");
    }
    Ok(())
}

/// Size of the files in a folder on the disk, in bytes, without holes.
fn taken(dir: &Utf8Path) -> anyhow::Result<u64> {
    let mut all = 0;
    for entry in dir.read_dir_utf8()? {
        let meta = entry?.metadata()?;
        if meta.is_file() {
            all += meta.blocks() * 512;
        }
    }
    Ok(all)
}

fn shell(command: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", command]).stdin(Stdio::null());
    sh
}

/// Waits for a child, and returns the peak memory of the largest process below it, in bytes
/// (`VmHWM`, Linux Documentation/filesystems/proc.rst).
fn watch(child: &mut Child) -> anyhow::Result<(bool, u64)> {
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status.success(), peak));
        }
        let mut todo = vec![child.id()];
        while let Some(pid) = todo.pop() {
            peak = peak.max(high_water_mark(pid).unwrap_or(0));
            let children = format!("/proc/{pid}/task/{pid}/children");
            let list = std::fs::read_to_string(children).unwrap_or_default();
            todo.extend(
                list.split_whitespace()
                    .filter_map(|p| p.parse::<u32>().ok()),
            );
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn high_water_mark(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The result in Markdown, for the README.
fn table(ways: &[Way], (tar, entries): (&Utf8Path, u64)) -> anyhow::Result<String> {
    let one = ways.first().context("nothing was measured")?;
    let mut text = format!(
        "Root file system: a tar of {} with {} entries.\n\n| way | median | times `cat` | peak memory |\n|---|---|---|---|\n",
        Size(fs::metadata(tar)?.len()),
        entries
    );
    for way in ways {
        let row = match (way.skipped, way.median()) {
            (Some(why), _) => format!("| {} | skipped: {why} | | |\n", way.name),
            (None, Some(median)) => format!(
                "| {} | {median:.2} s | {:.1} | {} |\n",
                way.name,
                way.ratio(one).unwrap_or(0.0),
                Size(way.peak)
            ),
            (None, None) => continue,
        };
        text.push_str(&row);
    }
    let find = |name: &str| ways.iter().find(|w| w.name == name);
    if let (Some(bios), Some(hybrid)) = (find(BIOS), find(HYBRID))
        && let Some(ratio) = hybrid.ratio(bios)
    {
        text.push_str(&format!(
            "\nWith UEFI in addition to BIOS it takes {ratio:.2} times as long (median of the rounds' ratios).\n"
        ));
    }
    Ok(text)
}
