//! Signals.

use super::*;

#[test]
fn a_signal_while_stdin_stalls() {
    let Some(p) = Place::new() else { return };
    let tar = fs_err::read(p.dir.join("good.tar")).unwrap();
    for signal in SIGNALS {
        let mut command = p.image(["./box", "--from", "-"]);
        command.stdin(Stdio::piped());
        let mut running = Running::new(command);
        let mut stdin = running.child.stdin.take().unwrap();
        running.until_said("from stdin\n");
        // More than a pipe holds: it is inside of a file's content when the signal comes.
        stdin.write_all(&tar[..1_000_000]).unwrap();
        let pid = running.child.id();
        running.ends_by(signal);
        p.is_clean(pid);
    }
}

#[test]
fn a_signal_while_an_image_is_written() {
    let Some(p) = Place::new() else { return };
    // A file of 8 GiB that costs no space as a tar; the image would take a while.
    let mut all = common::machine();
    let mut big = file("big", "");
    big.mode = 0o600;
    all.push(big);
    let tar = p.dir.join("big.tar");
    common::tar_file(&all, &tar);
    grow_last(&tar, 8 << 30);
    for signal in SIGNALS {
        let mut running = Running::new(p.image(["./box", "--from", "big.tar"]));
        running.until_said("a disk of ");
        let pid = running.child.id();
        let written = || {
            use std::os::unix::fs::MetadataExt;
            let files = names(&p.out).into_iter().map(|name| p.out.join(name));
            let mut large = files.filter_map(|file| std::fs::metadata(file).ok());
            large.any(|m| m.blocks() > 20_000)
        };
        let begun = Instant::now();
        while !written() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "nothing is written"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        running.ends_by(signal);
        p.is_clean(pid);
    }
}

/// Gives the last file of a tar, which is empty, `len` bytes: a hole.
fn grow_last(tar: &Utf8Path, len: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(tar);
    let file = file.unwrap();
    // Two blocks of zeros end a tar.
    let at = file.metadata().unwrap().len() - 1536;
    let mut block = [0; 512];
    file.read_exact_at(&mut block, at).unwrap();
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(&block);
    header.set_size(len);
    header.set_cksum();
    file.write_all_at(header.as_bytes(), at).unwrap();
    file.set_len(at + 512 + len + 1024).unwrap();
}

/// Whenever a signal comes, there is a whole image or nothing.
#[test]
fn a_signal_at_any_time() {
    let Some(p) = Place::new() else { return };
    let mut command = p.image(["-q", "./box", "--from", "good.tar"]);
    let begun = Instant::now();
    common::content(&mut command);
    let whole = begun.elapsed();
    let image = p.out.join("box.img");
    let good = common::sha256(&image);
    fs_err::remove_file(&image).unwrap();
    let steps = 60;
    let mut seen = [0; 3];
    for n in 0..steps {
        let signal = SIGNALS[n as usize % SIGNALS.len()];
        let mut command = p.image(["-q", "./box", "--from", "good.tar"]);
        command.stderr(Stdio::null()).stdout(Stdio::null());
        let mut child = command.process_group(0).spawn();
        let child = child.as_mut().unwrap();
        std::thread::sleep(whole * n * 5 / (4 * steps));
        send(Pid::from_child(child), signal);
        let status = wait(child, Duration::from_secs(10));
        let made = names(&p.out);
        match (status.code(), status.signal()) {
            (Some(0), _) => {
                seen[0] += 1;
                assert_eq!(made, ["box.img"]);
            }
            (Some(code), _) => {
                seen[1] += 1;
                assert_eq!(code, 128 + signal.as_raw());
            }
            // Before the program could say what it does about signals.
            (None, by) => {
                seen[2] += 1;
                assert_eq!(by, Some(signal.as_raw()));
            }
        }
        if made == ["box.img"] {
            assert_eq!(common::sha256(&image), good);
            fs_err::remove_file(&image).unwrap();
        }
        p.is_clean(child.id());
    }
    assert!(seen[1] > 0, "no signal came in time: {seen:?}");
}
