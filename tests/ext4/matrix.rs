//! Options in all combinations, on small file systems.

use super::e2fsprogs::clean;
use super::kernel;
use super::model::{self, MIB, Node, What, node};
use crate::common;
use docker_to_linux::fs::ext4::writer::{Error, Inodes, Journal, Options};

/// A choice among a few, and how many there are.
type Choice = (usize, fn(&mut Options, usize));

/// All choices. Those that do not touch what others do (they set a flag, or a field of the
/// superblock) are one choice.
const CHOICES: [Choice; 9] = [
    (4, |o, n| {
        // Several groups, and with blocks of 1 KiB several blocks of group descriptors.
        let (block, mib) = [(1024, 300), (2048, 200), (4096, 600), (65536, 6000)][n];
        (o.block_size, o.size) = (block, mib * MIB);
    }),
    (3, |o, n| {
        o.grow_to = [o.size * 1024, 0, 0][n];
        o.features.meta_bg = n == 2;
    }),
    (3, |o, n| {
        o.journal = [Journal::Auto, Journal::None, Journal::Auto][n];
        o.features.fast_commit = n == 2;
    }),
    (2, |o, n| o.features.sparse_super2 = n == 1),
    (2, |o, n| o.features.bits64 = n == 1),
    (2, |o, n| o.features.inline_data = n == 1),
    (2, |o, n| o.features.orphan_file = n == 1),
    (2, |o, n| o.features.ea_inode = n == 1),
    (2, |o, n| {
        o.features.casefold = n == 1;
        o.features.project = n == 1;
        o.features.verity = n == 1;
        o.features.csum_seed = n == 1;
        o.features.large_dir = n == 1;
    }),
];

/// Options of a combination. Its number is mixed from the numbers of the choices.
fn combination(mut number: usize) -> Options {
    let mut options = model::options(1);
    options.inodes = Inodes::Count(6000);
    for (count, set) in CHOICES {
        set(&mut options, number % count);
        number /= count;
    }
    options
}

fn combinations() -> usize {
    CHOICES.iter().map(|(count, _)| count).product()
}

fn tree(options: &Options) -> Vec<Node> {
    let block = u64::from(options.block_size);
    let mut nodes = model::small();
    nodes.push(node(0, "file", What::File(common::pattern(1, 100_000))));
    let runs = (0..700).map(|n| (n * 2 * block, vec![7; 9])).collect();
    nodes.push(node(0, "fragments", What::Sparse(1400 * block, runs)));
    nodes.push(node(0, "long link", What::Symlink(vec![b'l'; 300])));
    model::many(&mut nodes, "many", 900, &What::Fifo);
    if options.features.ea_inode {
        let file = node(0, "outside", What::Small(vec![1; 70]));
        nodes.push(file.attribute("user.large", &[b'a'; 9000]));
    }
    nodes
}

/// e2fsck finds nothing in these combinations. Returns how many there were.
fn check(numbers: impl Iterator<Item = usize>) -> usize {
    let temp = tempfile::tempdir().unwrap();
    let image = temp.path().join("image");
    let mut count = 0;
    for number in numbers {
        let options = combination(number);
        let nodes = tree(&options);
        let (size, what) = (options.size, format!("{number}: {options:?}"));
        let without = options.journal == Journal::None && options.features.orphan_file;
        match model::lay_out(options, &nodes) {
            Err(Error::Together { .. }) if without => continue,
            laid => model::write(&laid.unwrap().0, &nodes, size, &image),
        }
        if !clean(&image, &what) {
            return 0;
        }
        count += 1;
    }
    count
}

#[test]
fn some_combinations() {
    // A prime number, so that every choice of every option is there, and nearly every pair.
    let count = check((0..combinations()).step_by(61));
    eprintln!("{count} combinations");
}

#[test]
#[ignore = "takes minutes"]
fn all_combinations() {
    let count = check(0..combinations());
    eprintln!("{count} combinations");
}

/// The kernel reads everything, and writes into every directory and over files.
#[test]
fn the_kernel_reads_and_writes_some_combinations() {
    let name = "the_kernel_reads_and_writes_some_combinations";
    if common::passed_as_root(module_path!(), name) {
        return;
    }
    for number in (0..combinations()).step_by(151) {
        let mut options = combination(number);
        // Linux before 6.18 mounts no blocks that are larger than a page, and a kernel may be
        // built without what these need.
        let features = &mut options.features;
        (features.casefold, features.project, features.verity) = (false, false, false);
        let without = options.journal == Journal::None && features.orphan_file;
        if options.block_size > 4096 || without {
            continue;
        }
        let nodes = tree(&options);
        kernel::reads_and_writes(options, &nodes);
    }
}
