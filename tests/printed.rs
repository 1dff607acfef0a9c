//! Input can never become a command for a terminal or a runner, wherever it is printed.

use crate::common::{self, Place, dir, file};

/// What a terminal would obey: a title, a cleared screen, C1's own introducer, reversed text.
const HOSTILE: &str = "\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{202e}\u{2066}\x7f\u{2028}";
/// The same, for YAML between double quotes.
const IN_YAML: &str = r"\e]0;owned\a\e[2J\x9b31m\u202e\u2066\x7f\u2028";

/// One whose recipe is in `recipes`.
fn place() -> Option<Place> {
    let place = Place::new()?;
    fs_err::create_dir(place.dir.join("recipes")).unwrap();
    fs_err::rename(place.dir.join("box"), place.dir.join("recipes/box")).unwrap();
    Some(place)
}

impl Place {
    /// Runs a verb. Everything that it prints, which is safe and, if asked for, has a word in it.
    #[track_caller]
    fn says(&self, arguments: &[&str], word: &str) -> String {
        self.says_with(arguments, &[], word)
    }

    #[track_caller]
    fn says_with(&self, arguments: &[&str], env: &[(&str, &str)], word: &str) -> String {
        let mut command = self.xtask(arguments);
        command
            .env("PATH", format!("{}/bin:/usr/bin:/bin", self.dir))
            .envs(env.iter().copied());
        let said = common::said(&command.output().unwrap());
        safe(&said);
        assert!(said.contains(word), "no {word:?} in {said}");
        said
    }
}

/// No character of it is a command, or hides.
#[track_caller]
fn safe(text: &str) {
    let bad = |c: &char| {
        c.is_control() && !"\n\t".contains(*c)
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let found = text.chars().find(bad);
    assert_eq!(found, None, "{text:?}");
}

#[test]
fn recipes() {
    let Some(p) = place() else { return };
    let yaml = format!("description: \"x{IN_YAML}\"\n");
    p.write("recipes/loud/recipe.yaml", yaml);
    p.says(&["list"], r"x\u{1b}]0;owned\u{7}");
    // JSON stays JSON and keeps its meaning.
    let json = p.says(&["list", "--json"], r"\u009b31m");
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rows = rows.as_array().unwrap();
    let loud = rows.iter().find(|r| r["recipe"] == "loud").unwrap();
    assert_eq!(loud["description"], format!("x{HOSTILE}"));
    p.says(&["list", "--json", "--matrix"], "loud");
    // A key, a value, and a name of a recipe.
    for yaml in [
        format!("\"k{IN_YAML}\": 1\n"),
        format!("hostname: \"h{IN_YAML}\"\n"),
        format!("boot: \"b{IN_YAML}\"\n"),
    ] {
        p.write("recipes/loud/recipe.yaml", yaml);
        p.says(&["image", "loud"], "error: ");
        p.says(&["-v", "list"], "error: ");
    }
    let name = format!("n{HOSTILE}");
    for verb in ["image", "plan", "boot", "smoke"] {
        p.says(&[verb, &name], r"n\u{1b}");
    }
    p.says(&["image", "box", &format!("--{name}")], r"\u{9b}");
}

#[test]
fn kernels_and_files() {
    let Some(p) = place() else { return };
    let loaders = "bootloader";
    let version = format!("6.2{}", HOSTILE.replace('/', ""));
    // A kernel without an initrd is reported and skipped.
    let mut all = common::machine();
    all.push(file(&format!("boot/vmlinuz-{version}"), b"MZ".to_vec()));
    all.push(file(&format!("etc/{HOSTILE}"), b"x".to_vec()));
    common::tar_file(&all, &p.dir.join("kernels.tar"));
    let from = ["--from", "kernels.tar", "--bootloader-dir", loaders];
    for verb in ["plan", "image"] {
        p.says(
            &[&["-v", verb, "box", "--output", "out"], &from[..]].concat(),
            "",
        );
    }
    // The only kernel.
    let mut all = common::machine();
    all.retain(|e| !e.path.contains("vmlinuz") && !e.path.contains("initrd.img"));
    all.push(file(
        &format!("boot/vmlinuz-{version}"),
        common::pattern(1, 9000),
    ));
    all.push(file(
        &format!("boot/initrd.img-{version}"),
        common::pattern(2, 9000),
    ));
    common::tar_file(&all, &p.dir.join("kernels.tar"));
    for verb in ["plan", "image"] {
        p.says(&[&[verb, "box", "--output", "out"], &from[..]].concat(), "");
    }
    // An entry that is wrong, and a tar that is not there.
    let all = [
        dir(""),
        file("a", b"".to_vec()),
        file(&format!("a/{HOSTILE}"), b"".to_vec()),
    ];
    common::tar_file(&all, &p.dir.join("kernels.tar"));
    p.says(&[&["image", "box"], &from[..]].concat(), "error: ");
    let nowhere = format!("no{HOSTILE}.tar");
    p.says(
        &[
            "image",
            "box",
            "--from",
            &nowhere,
            "--bootloader-dir",
            loaders,
        ],
        r"no\u{1b}",
    );
    p.says(&["convert", &nowhere, "--format", "vdi"], r"no\u{1b}");
    p.write(&nowhere, "x");
    p.says(&["convert", &nowhere, "--format", "vdi"], r"\u{1b}");
    // A list of sums that names files so.
    let sum = "0".repeat(64);
    p.write(
        "sums/SHA256SUMS",
        format!("{sum}  f{HOSTILE}\n{sum}  g\r\x1b[A\n"),
    );
    p.says(&["verify", "sums"], r"\u{1b}");
}

#[test]
fn guests() {
    let Some(p) = place() else { return };
    let serial =
        "\\033]0;owned\\007\\033[2J\\302\\23331mKernel panic - not syncing: \\342\\200\\256x\\n";
    common::script(
        &p.dir.join("bin/qemu-system-x86_64"),
        &format!(
            "case \"$*\" in *isa-debug-exit*) exit 33 ;; esac\nprintf '{serial}'\nprintf '{serial}' >&2\nsleep 1\n"
        ),
    );
    let mut disk = vec![0; 1 << 20];
    (disk[0], disk[510], disk[511]) = (0xfa, 0x55, 0xaa);
    let name = format!("d`{HOSTILE}\n```\n::error::x.img");
    p.write(&name, disk);
    let files = ["--junit", "junit.xml", "--summary", "summary.md"];
    let env = [("GITHUB_STEP_SUMMARY", "step.md")];
    let smoke = ["smoke", &name, "--firmware", "bios", "--timeout", "5"];
    let said = p.says_with(&[&smoke[..], &files].concat(), &env, "d`");
    assert!(
        !said.lines().any(|l| l.trim_start().starts_with("::")),
        "{said}"
    );
    for file in ["junit.xml", "summary.md", "step.md"] {
        let text = fs_err::read_to_string(p.dir.join(file)).unwrap();
        safe(&text);
        assert!(text.contains("owned"), "{text}");
        // The name ends no block of code.
        assert!(
            file == "junit.xml" || text.matches("\n```\n").count() <= 2,
            "{text}"
        );
    }
    p.says(&[&smoke[..], &["--json"]].concat(), "");
}

#[test]
fn builds_and_the_action() {
    let Some(p) = place() else { return };
    common::script(
        &p.dir.join("bin/docker"),
        r#"case $1 in
            version) echo 27.0; exit ;;
            build) printf ' 10 %%\r 50 %%\r100 %%\r\n\033[1;31mred\033[0m\302\23331m\n::error::x\n##[group]y\n'
                printf '\033[31mit \033]0;owned\007failed\033[0m\n'; exit 1 ;;
            *) printf 'no\033[2J\n' >&2; exit 1 ;;
        esac
        "#,
    );
    p.write("recipes/box/Dockerfile", "FROM scratch\n");
    let loaders = "bootloader";
    let image = ["image", "box", "--bootloader-dir", loaders];
    let said = p.says(&image, "    100 %\n");
    assert!(!said.contains("50 %"), "{said}");
    assert!(
        said.contains("    red\\u{9b}31m\n    ::error::x\n"),
        "{said}"
    );
    assert!(said.contains("recipes/box: it failed; hint"), "{said}");
    // A runner that reads along finds no command.
    let said = p.says_with(&image, &[("GITHUB_ACTIONS", "true")], "error::x");
    assert!(
        !said.lines().any(|l| l.trim_start().starts_with("::")),
        "{said}"
    );
    assert!(!said.contains("##["), "{said}");
    // A bootstrap's last word, in the action's annotation and summary.
    common::script(
        &p.dir.join("recipes/box/bootstrap"),
        "printf 'bootstrap: \\033[31mno\\033[0m way \\342\\200\\256\\n' >&2; exit 3\n",
    );
    p.write("recipes/box/recipe.yaml", "base: nowhere.invalid/x:1\n");
    let args = format!("--bootloader-dir {loaders}");
    let action = |recipe: &str| {
        let inputs = serde_json::json!({ "recipe": recipe, "args": args }).to_string();
        let env = [
            ("INPUT_RECIPE", recipe),
            ("INPUT_SMOKE", "false"),
            ("INPUT_ARGS", &args),
            ("INPUTS", &inputs),
            ("GITHUB_OUTPUT", "outputs"),
            ("GITHUB_STEP_SUMMARY", "step.md"),
        ];
        let said = p.says_with(&["action"], &env, "::error");
        let text = fs_err::read_to_string(p.dir.join("step.md")).unwrap();
        safe(&text);
        said
    };
    let said = action("box");
    assert!(said.contains("no way \\u{202e}"), "{said}");
    let said = action(&format!("x{HOSTILE}\n::set-output name=a::b"));
    assert!(!said.lines().any(|l| l.starts_with("::set")), "{said}");
}
