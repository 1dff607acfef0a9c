//! A container that is put into a machine as it is, from a layout to an answer over the network.

use super::*;
use docker_to_linux::vm::PROMPT;

/// One static program in an image that has nothing else: no shell, no users, no package manager.
#[test]
#[ignore = "builds and boots a machine: minutes"]
fn a_program_alone_serves_from_alpine() {
    let (_guard, dir) = temp();
    const TAG: &str = "docker-to-linux/test-hosted:latest";
    let files: Files<'_> = &[
        (
            "Dockerfile",
            r#"FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends busybox-static
FROM scratch
COPY --from=0 /bin/busybox /server
COPY index.html /srv/www/
WORKDIR /srv/www
USER 1234:1234
EXPOSE 80
ENTRYPOINT ["/server", "httpd", "-f"]
CMD ["-vv", "-p", "80"]
"#,
            false,
        ),
        ("index.html", "hello from scratch\n", false),
    ];
    let Some(()) = application(&dir, "debian:trixie-slim", TAG, files) else {
        return;
    };
    let archive = dir.join("app.tar");
    let docker = Tool::Docker.require().unwrap();
    content(Command::new(docker).args(["save", "-o", archive.as_str(), TAG]));
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut build = common::xtask();
    content(build.args(["machine", "build", "alpine"]).current_dir(root));
    let archive = format!("docker-archive:{archive}");
    let options = ["--container", &archive, "--machine", "alpine"];
    let image = machine_of(&dir, "app", &options);
    let mut machine = boot(&image, PROMPT);
    let answer = machine.get("/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("hello from scratch\n"), "{answer}");
    machine.says("response:200");
    machine.off();
}
