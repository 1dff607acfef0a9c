//! The action in real workflows, under `act`.

use super::*;

/// `act` with its own repository. What the action downloads from GitHub is in local folders, so that
/// the test runs without access to GitHub.
struct Act {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    program: Utf8PathBuf,
}

/// What a job left.
struct Job {
    passed: bool,
    log: String,
    /// Outputs of the step `image`.
    outputs: BTreeMap<String, String>,
}

impl Act {
    fn new() -> Option<Act> {
        let program = recipe::home().join("target/checkers/bin/act");
        if !program.is_file() {
            return common::skipped("act is not installed: `cargo xtask setup --dev` does that");
        }
        let (temp, dir) = common::temp();
        // Replacements for the two third-party actions that ours uses.
        let action = "name: x\ndescription: x\nruns:\n  using: composite\n  steps:\n    - run: echo stand-in\n      shell: sh\n";
        fs_err::create_dir(dir.join("stand-in")).unwrap();
        fs_err::write(dir.join("stand-in/action.yml"), action).unwrap();
        fs_err::create_dir(dir.join("repository")).unwrap();
        Some(Act {
            _temp: temp,
            dir,
            program,
        })
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.join("repository").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Copies what belongs to the project, as a checkout has it.
    fn copy_project(&self, to: &Utf8Path) {
        let files = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(recipe::home())
            .output()
            .unwrap();
        for file in String::from_utf8(files.stdout).unwrap().split('\0') {
            let from = recipe::home().join(file);
            if file.is_empty() || !from.is_file() {
                continue;
            }
            fs_err::create_dir_all(to.join(file).parent().unwrap()).unwrap();
            fs_err::copy(from, to.join(file)).unwrap();
        }
    }

    /// The project as an action that is fetched, with its program in place.
    fn fetched(&self) -> Utf8PathBuf {
        let home = self.dir.join("fetched");
        self.copy_project(&home);
        // act leaves out what a .gitignore names.
        fs_err::remove_file(home.join(".gitignore")).unwrap();
        fs_err::create_dir_all(home.join("target/action")).unwrap();
        let program = env!("CARGO_BIN_EXE_docker-to-linux");
        fs_err::copy(program, home.join("target/action/xtask")).unwrap();
        home
    }

    /// Runs a job with a step `image` that uses the action with these inputs (as JSON, which
    /// is YAML).
    fn run(&self, uses: &str, inputs: &Value, env: &[(&str, &str)]) -> Job {
        let outputs = self.dir.join("outputs.json");
        let _ = fs_err::remove_file(&outputs);
        let workflow = serde_json::json!({
            "name": "test",
            "on": "workflow_dispatch",
            "jobs": { "test": { "runs-on": "ubuntu-latest", "steps": [
                { "uses": "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd",
                  "with": { "persist-credentials": false } },
                { "id": "image", "uses": uses, "with": inputs },
                { "if": "always()", "env": { "OUTPUTS": "${{ toJSON(steps.image.outputs) }}" },
                  "run": format!("printf '%s' \"$OUTPUTS\" >'{outputs}'") },
            ] } },
        });
        self.write(".github/workflows/test.yml", &workflow.to_string());
        let repository = self.dir.join("repository");
        for arguments in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "--all"],
            &[
                "-c",
                "user.name=x",
                "-c",
                "user.email=x@example.org",
                "commit",
                "--quiet",
                "--allow-empty",
                "--message=x",
            ],
        ] {
            common::content(Command::new("git").args(arguments).current_dir(&repository));
        }
        let action = fs_err::read_to_string(recipe::home().join("action.yml")).unwrap();
        let mut command = Command::new(&self.program);
        command
            .args(["workflow_dispatch", "-P", "ubuntu-latest=-self-hosted"])
            .current_dir(&repository)
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env_remove("SOURCE_DATE_EPOCH");
        let used = action
            .lines()
            .filter_map(|l| l.trim().strip_prefix("uses: "));
        for used in used {
            let name = used.split_whitespace().next().unwrap();
            let folder = self.dir.join("stand-in");
            command.args(["--local-repository", &format!("{name}={folder}")]);
        }
        if !uses.starts_with("./") {
            let folder = self.dir.join("fetched");
            command.args(["--local-repository", &format!("{uses}={folder}")]);
        }
        for (name, value) in env {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let out = command.output().unwrap();
        let text = fs_err::read_to_string(&outputs).unwrap_or_else(|_| "{}".into());
        Job {
            passed: out.status.success(),
            log: common::said(&out),
            outputs: serde_json::from_str(&text).unwrap(),
        }
    }
}

/// The action at a tag, as users name it.
const PUBLIC: &str = "org/docker-to-linux@v1";

#[test]
#[ignore = "minutes: builds the program and Debian, and boots it; `cargo xtask ci` runs it"]
fn act_builds_debian_and_boots_it() {
    let Some(act) = Act::new() else { return };
    act.copy_project(&act.dir.join("repository"));
    // The dependencies that are built already: cargo compares times, so they must be kept.
    let target = act.dir.join("target");
    fs_err::create_dir_all(target.join("release")).unwrap();
    for part in ["deps", "build", ".fingerprint"] {
        let from = recipe::home().join("target/release").join(part);
        common::content(
            Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(from)
                .arg(target.join("release")),
        );
    }
    let out = act.dir.join("out");
    let inputs = serde_json::json!({
        "recipe": "debian",
        "format": "raw,qcow2",
        "boot": "hybrid",
        "output": out,
        // Smaller, and these machines are virtual.
        "args": "--build-arg KERNEL=linux-image-cloud-amd64",
    });
    let job = act.run("./", &inputs, &[("CARGO_TARGET_DIR", target.as_str())]);
    assert!(job.passed, "{}", job.log);
    let image = out.join("debian.img");
    let images: Vec<Utf8PathBuf> = serde_json::from_str(&job.outputs["images"]).unwrap();
    assert_eq!(images, [image.clone(), out.join("debian.qcow2")]);
    assert_eq!(job.outputs["image"], image);
    assert_eq!(job.outputs["sha256"], common::sha256(&image));
    assert_eq!(job.outputs["verdict"], "passed");
    let seconds: f64 = job.outputs["boot-seconds"].parse().unwrap();
    assert!(seconds > 1.0, "{seconds}");
    assert_eq!(job.outputs["release-url"], "");
    assert!(job.log.contains("Summary"), "{}", job.log);
    for boot in ["debian (BIOS, ", "debian (UEFI, "] {
        assert!(job.log.contains(boot), "{boot}: {}", job.log);
    }
}

#[test]
#[ignore = "takes the image of Debian that the test above builds; `cargo xtask ci` runs it"]
fn act_builds_the_only_recipe_of_a_users_repository() {
    let Some(act) = Act::new() else { return };
    act.fetched();
    act.write("README", "nothing of docker-to-linux is here");
    act.write("recipes/mine/recipe.yaml", "hostname: mine\nboot: bios\n");
    act.write(
        "recipes/mine/Dockerfile",
        "FROM docker-to-linux/debian:amd64\nRUN echo mine >/etc/mine\n",
    );
    let out = act.dir.join("out");
    let inputs = serde_json::json!({ "recipe": "mine", "smoke": false, "output": out });
    let job = act.run(PUBLIC, &inputs, &[]);
    assert!(job.passed, "{}", job.log);
    assert_eq!(job.outputs["image"], out.join("mine.img"));
    assert_eq!(job.outputs["verdict"], "skipped");
    assert_eq!(job.outputs["sha256"], common::sha256(&out.join("mine.img")));
}

#[test]
#[ignore = "needs act; `cargo xtask ci` runs it"]
fn act_shows_wrong_inputs_as_annotations() {
    let Some(act) = Act::new() else { return };
    act.fetched();
    act.write("recipes/mine/recipe.yaml", "hostname: mine\nboot: bois\n");
    // (act, unlike GitHub, hides inputs that do not exist from the action; that they are errors
    // is tested above.)
    let wrong = serde_json::json!({ "recipe": "mine", "smoke": "yes", "smoke-timeout": "5m" });
    let job = act.run(PUBLIC, &wrong, &[]);
    assert!(!job.passed, "{}", job.log);
    assert_eq!(job.log.matches("::error title=").count(), 2, "{}", job.log);
    assert!(job.log.contains("did you mean `true`?"), "{}", job.log);
    assert!(
        job.log
            .contains("is \"5m\", which is not a number of seconds"),
        "{}",
        job.log
    );
    assert_eq!(job.outputs["verdict"], "error");

    let job = act.run(PUBLIC, &serde_json::json!({ "recipe": "mine" }), &[]);
    assert!(!job.passed, "{}", job.log);
    let at = "::error file=recipes/mine/recipe.yaml,line=2,col=7";
    assert!(job.log.contains(at), "{}", job.log);

    let job = act.run(PUBLIC, &serde_json::json!({}), &[]);
    assert!(!job.passed, "{}", job.log);
    assert!(job.log.contains("is required"), "{}", job.log);
}

#[test]
#[ignore = "needs act; `cargo xtask ci` runs it"]
fn act_hands_inputs_over_literally() {
    let Some(act) = Act::new() else { return };
    act.fetched();
    let Some(place) = place() else { return };
    let name = "it's a \"machine\"; $(touch pwned) `touch pwned` & $HOME";
    act.write(
        &format!("{name}/recipe.yaml"),
        "name: box\nroot: {free: 16M}\n",
    );
    let out = act.dir.join("out; touch pwned\n$(touch pwned) 'x\"");
    let inputs = serde_json::json!({
        "recipe": format!("./{name}"),
        "smoke": "false",
        "output": out,
        "args": place.words_for_tar(),
    });
    let job = act.run(PUBLIC, &inputs, &[]);
    assert!(job.passed, "{}", job.log);
    assert_eq!(job.outputs["image"], out.join("box.img"));
    assert!(out.join("box.img").is_file());
    // None of it ran, neither in act's folder nor in the repository.
    let pwned = Command::new("find")
        .arg(&act.dir)
        .args(["-name", "pwned*"])
        .output()
        .unwrap();
    assert_eq!(common::said(&pwned), "");
}
