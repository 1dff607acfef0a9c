//! Which environment variables child processes see: fake programs record them.

use crate::common;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;

/// Variables of a workflow and its runner that must stay private.
const SECRETS: [&str; 14] = [
    "INPUT_TOKEN",
    "INPUTS",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_ENV",
    "GITHUB_PATH",
    "ACTIONS_RUNTIME_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "AWS_SECRET_ACCESS_KEY",
    "NPM_TOKEN",
    "DOCKER_PASSWORD",
    "DOCKER_AUTH_CONFIG",
    "DEPLOY_PASSPHRASE",
];
/// What programs need.
const NEEDED: [&str; 9] = [
    "HOME",
    "TMPDIR",
    "LC_ALL",
    "https_proxy",
    "NO_PROXY",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "SOURCE_DATE_EPOCH",
    "TEST_MIRROR",
];

/// Part of every secret's value.
const MARK: &str = "mark-of-a-secret";

/// A folder of programs that write down their environment.
struct StandIns {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
}

impl StandIns {
    fn new() -> StandIns {
        let (temp, dir) = common::temp();
        fs_err::create_dir(dir.join("seen")).unwrap();
        fs_err::create_dir(dir.join("bin")).unwrap();
        StandIns { _temp: temp, dir }
    }

    /// The program `path`, which then does what `then` says.
    fn add(&self, path: &str, then: &str) {
        let (file, seen) = (self.dir.join(path), self.dir.join("seen"));
        let name = file.file_name().unwrap();
        // Also of its parent, us: /proc could tell it.
        let text = format!(
            "env >'{seen}/{name}'-$$\ncat /proc/$PPID/environ >'{seen}/{name}'-$$-parent 2>/dev/null\n{then}\n"
        );
        common::script(&file, &text);
    }

    /// Runs a verb with those variables, and `more`.
    fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> String {
        let mut command = common::xtask();
        command.args(arguments).current_dir(&self.dir).env_clear();
        command
            .env("PATH", format!("{}/bin:/usr/bin:/bin", self.dir))
            .env("GITHUB_OUTPUT", self.dir.join("output"))
            .env("GITHUB_STEP_SUMMARY", self.dir.join("summary"))
            .env("INPUT_RECIPE", "./machine")
            .env("INPUT_SMOKE", "false")
            .env("DOCKER_TO_LINUX_PASS_ENV", "ASKED_FOR,ALSO_THIS")
            .env("ASKED_FOR", "value-of-ASKED_FOR");
        for name in NEEDED {
            let value = match name {
                "SOURCE_DATE_EPOCH" => "1700000000".to_owned(),
                "TMPDIR" => self.dir.to_string(),
                name => format!("value-of-{name}"),
            };
            command.env(name, value);
        }
        for name in SECRETS {
            command.env(name, format!("{MARK}-{name}"));
        }
        command.envs(more.iter().copied());
        common::said(&command.output().unwrap())
    }

    /// What each fake program saw, by name and process ID.
    fn seen(&self) -> BTreeMap<String, String> {
        let all = self.dir.join("seen").read_dir_utf8().unwrap();
        all.map(|e| e.unwrap())
            .map(|e| {
                let bytes = fs_err::read(e.path()).unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                (e.file_name().to_owned(), text)
            })
            .collect()
    }

    /// Every program of these names ran and saw what it needs and no secret.
    fn check(&self, names: &[&str], said: &str) {
        let seen = self.seen();
        for name in names {
            let ran = seen.keys().any(|k| k.starts_with(name));
            assert!(ran, "{name} was not started: {said}");
        }
        for (program, text) in &seen {
            if program.ends_with("-parent") {
                // Against root nothing in /proc is hidden.
                let ours = program.starts_with("bootstrap") && !common::is_root();
                assert!(!ours || !text.contains(MARK), "{program} read {text}");
                continue;
            }
            assert!(!text.contains(MARK), "{program} saw {text}");
            for name in NEEDED.iter().chain(&["PATH", "ASKED_FOR"]) {
                let line = format!("{name}=");
                let there = text.lines().any(|l| l.starts_with(&line));
                assert!(there, "{program} lacks {name}: {text}");
            }
        }
    }
}

#[test]
fn a_bootstrap_and_an_engine_get_no_token() {
    let p = StandIns::new();
    // An engine that has no image, cannot pull, imports, and then fails to build.
    p.add(
        "bin/docker",
        r#"case $1 in
            version) echo 27.0 ;;
            import) cat >/dev/null; echo sha256:0123 ;;
            tag) ;;
            *) echo "not today" >&2; exit 1 ;;
        esac"#,
    );
    p.add("machine/bootstrap", r#"test -x "$XTASK" && echo a tar"#);
    fs_err::write(p.dir.join("machine/Dockerfile"), "ARG BASE\nFROM ${BASE}\n").unwrap();
    fs_err::write(
        p.dir.join("machine/recipe.yaml"),
        "base: nowhere.invalid/x:1\nboot: bios\n",
    )
    .unwrap();
    // Boot loaders are looked for first.
    let Some(loaders) = common::bootloader_dir(&p.dir) else {
        return;
    };
    let args = format!("--bootloader-dir {loaders}");
    let inputs = format!(r#"{{"recipe": "", "token": "{MARK}"}}"#);
    let said = p.run(&["action"], &[("INPUT_ARGS", &args), ("INPUTS", &inputs)]);
    assert!(said.contains("not today"), "{said}");
    p.check(&["docker", "bootstrap"], &said);
    let seen = p.seen();
    let bootstrap = seen.iter().find(|(k, _)| k.starts_with("bootstrap"));
    assert!(bootstrap.unwrap().1.contains("\nXTASK="), "{seen:?}");
}

#[test]
fn qemu_gets_no_token() {
    let p = StandIns::new();
    p.add("bin/qemu-system-x86_64", "exit 33");
    p.add("bin/e2fsck", "exit 0");
    let mut disk = vec![0; 1 << 20];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[0] = 0xfa;
    fs_err::write(p.dir.join("disk.img"), disk).unwrap();
    let said = p.run(
        &["smoke", "disk.img", "--firmware", "bios", "--timeout", "5"],
        &[],
    );
    p.check(&["qemu-system-x86_64"], &said);
}
