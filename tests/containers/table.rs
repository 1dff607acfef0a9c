//! Container images of many kinds, and what is expected of them.

/// How a service is asked over TCP.
#[derive(Clone, Copy)]
pub(super) enum Ask {
    /// `GET /`; the answer contains this.
    Http(&'static str),
    /// These bytes are sent; the answer begins with these.
    Bytes(&'static [u8], &'static [u8]),
}

/// Where an image's Dockerfile is.
#[derive(Clone, Copy)]
pub(super) enum From {
    /// In the folder `tests/containers/NAME`.
    Folder,
    /// This is it, after a stage with `/serve`.
    Text(&'static str),
    /// This, with so many layers that engines take no more.
    Layers(&'static str),
}

/// An image, and what is expected of it.
pub(super) struct Image {
    pub name: &'static str,
    pub from: From,
    /// The port that it listens on.
    pub port: u16,
    pub ask: Ask,
    /// What the console says before it can be asked.
    pub says: &'static str,
    /// What the console says when the machine is turned off. If it says nothing, it is measured how
    /// long the service takes to stop.
    pub stops: &'static str,
    /// Options of the command line that makes the disk.
    pub options: &'static [&'static str],
}

/// For images of the test's own service.
const fn serve(name: &'static str, text: &'static str, says: &'static str) -> Image {
    Image {
        name,
        from: From::Text(text),
        port: 80,
        ask: Ask::Http("serve: user="),
        says,
        stops: "serve: stopped by 15",
        options: &[],
    }
}

const fn folder(name: &'static str, ask: Ask, says: &'static str, stops: &'static str) -> Image {
    Image {
        name,
        from: From::Folder,
        port: 80,
        ask,
        says,
        stops,
        options: &[],
    }
}

pub(super) const IMAGES: &[Image] = &[
    // Without anything but a program.
    serve(
        "scratch-c",
        "FROM scratch\nCOPY --from=0 /serve /serve\nENTRYPOINT [\"/serve\"]\nCMD [\"it's\", \"\"]\n",
        "serve: user=0:0 euid=0 groups=0 cwd=/ first=no A=[] HOME=[/] words=3 [/serve] [it's] []",
    ),
    folder(
        "rust",
        Ask::Http("hello from Rust"),
        "Rust listens with [\"zażółć\", \"*\"]",
        "",
    ),
    folder(
        "go",
        Ask::Http("hello from Go 65534"),
        "Go listens",
        "Go hears terminated",
    ),
    folder(
        "distroless",
        Ask::Http("user=65532:65532 euid=65532 groups=65532 cwd=/home/nonroot"),
        "A=[distroless] HOME=[/home/nonroot]",
        "serve: stopped by 15",
    ),
    folder("busybox", Ask::Http("hello from busybox"), "", ""),
    // Programs that everybody knows.
    folder(
        "nginx",
        Ask::Http("hello from nginx"),
        "start worker process",
        "gracefully shutting down",
    ),
    Image {
        port: 5432,
        ..folder(
            "postgres",
            // SSLRequest (PostgreSQL, "Message Formats"): No.
            Ask::Bytes(&[0, 0, 0, 8, 4, 210, 22, 47], b"N"),
            "database system is ready to accept connections",
            "database system is shut down",
        )
    },
    Image {
        port: 6379,
        ..folder(
            "redis",
            Ask::Bytes(b"PING\r\n", b"+PONG"),
            "Ready to accept connections",
            "Redis is now ready to exit",
        )
    },
    folder(
        "python",
        Ask::Http("hello from Python"),
        "Serving HTTP on",
        "",
    ),
    folder(
        "node",
        Ask::Http("hello from Node"),
        "node listens as 33",
        "node hears SIGTERM",
    ),
    folder(
        "java",
        Ask::Http("hello from Java"),
        "Java listens",
        "Java hears SIGTERM",
    ),
    // Users.
    serve(
        "numbers",
        "FROM alpine:3.23\nCOPY --from=0 /serve /serve\nUSER 1234:5678\nWORKDIR /made/for/it\nCMD [\"/serve\"]\n",
        "user=1234:5678 euid=1234 groups=5678 cwd=/made/for/it",
    ),
    serve(
        "groups",
        "FROM debian:trixie-slim\nCOPY --from=0 /serve /serve\nRUN useradd -u 77 -G audio,video app\nUSER app\nCMD [\"/serve\"]\n",
        "user=77:1000 euid=77 groups=29,44,1000 cwd=/",
    ),
    serve(
        "setuid",
        "FROM debian:trixie-slim\nCOPY --from=0 /serve /serve\nRUN chmod 4755 /serve\nUSER nobody\nCMD [\"/serve\"]\n",
        "user=65534:65534 euid=0",
    ),
    // Forms of commands.
    serve(
        "shell-form",
        "FROM debian:trixie-slim\nCOPY --from=0 /serve /serve\nENV A=\"it's \\\"x\\\" \\$HOME\"\nENTRYPOINT exec /serve \"$A\" 'b  c'\n",
        "A=[it's \"x\" $HOME] HOME=[/root] words=3 [/serve] [it's \"x\" $HOME] [b  c]",
    ),
    serve(
        "odd-words",
        "FROM scratch\nCOPY --from=0 /serve /bin/a=b\nENV node.name=x PATH=/nowhere:/bin\nENTRYPOINT [\"a=b\"]\nCMD [\"'\\\"\", \"$(id)\", \"Łódź\", \"%n\"]\n",
        "words=5 [a=b] ['\"] [$(id)] [Łódź] [%n]",
    ),
    serve(
        "relative",
        "FROM alpine:3.23\nCOPY --from=0 /serve /opt/app/serve\nWORKDIR /opt/app\nCMD [\"./serve\"]\n",
        "cwd=/opt/app first=no A=[] HOME=[/root] words=1 [./serve]",
    ),
    serve(
        "linked",
        "FROM debian:trixie-slim\nCOPY --from=0 /serve /opt/v1/serve\nRUN ln -s v1 /opt/now && ln -s ../../opt/now/serve /usr/bin/web\nCMD [\"web\"]\n",
        "words=1 [web]",
    ),
    Image {
        stops: "serve: stopped by 37",
        ..serve(
            "stop-signal",
            "FROM alpine:3.23\nCOPY --from=0 /serve /serve\nENV STOP=37\nSTOPSIGNAL SIGRTMIN+3\nCMD [\"/serve\"]\n",
            "serve: user=0:0",
        )
    },
    Image {
        options: &["--cmd", "[\"of the option\", \"\"]"],
        ..serve(
            "cmd",
            "FROM scratch\nCOPY --from=0 /serve /serve\nENTRYPOINT [\"/serve\"]\nCMD [\"of the image\"]\n",
            "words=3 [/serve] [of the option] []",
        )
    },
    Image {
        options: &["--entrypoint", "/serve 'a  b'", "--cmd", "c d"],
        ..serve(
            "entrypoint",
            "FROM scratch\nCOPY --from=0 /serve /serve\nENTRYPOINT [\"/serve\", \"x\"]\nCMD [\"y\"]\n",
            "words=4 [/serve] [a  b] [c] [d]",
        )
    },
    // What they need of their surroundings.
    Image {
        options: &["--privileged"],
        ..serve(
            "privileged",
            "FROM alpine:3.23\nCOPY --from=0 /serve /serve\n\
             CMD test -b /dev/vda && dmesg >/dev/null && mount -t tmpfs none /mnt \\\n\
             && echo 1 >/proc/sys/vm/drop_caches && export A=rights; exec /serve\n",
            "A=[rights]",
        )
    },
    serve(
        "not-privileged",
        "FROM alpine:3.23\nCOPY --from=0 /serve /serve\n\
         CMD test -b /dev/vda || dmesg >/dev/null || mount -t tmpfs none /mnt \\\n\
         || echo 1 >/proc/sys/vm/drop_caches || export A=none; exec /serve\n",
        "A=[none]",
    ),
    serve(
        "shared-memory",
        "FROM scratch\nCOPY --from=0 /serve /serve\nENV SHM=1\nUSER 5\nCMD [\"/serve\"]\n",
        "shm=works",
    ),
    serve(
        "orphans",
        "FROM alpine:3.23\nCOPY --from=0 /serve /serve\nENV ORPHANS=1\nCMD [\"/serve\"]\n",
        "zombies=0",
    ),
    serve(
        "writes",
        "FROM scratch\nCOPY --from=0 /serve /serve\nENV WRITE=1\nCMD [\"/serve\"]\n",
        "starts before=0",
    ),
    serve(
        "healthy",
        "FROM alpine:3.23\nCOPY --from=0 /serve /serve\nHEALTHCHECK --interval=2s --retries=2 CMD test $(id -u) = 0 && wget -qO- http://127.0.0.1/ | grep -q serve\nCMD [\"/serve\"]\n",
        "serve: user=0:0",
    ),
    // Odd images.
    serve(
        "long-paths",
        "FROM debian:trixie-slim\nCOPY --from=0 /serve /serve\n\
         RUN d=$(printf %0200d 0) && mkdir -p /$d/$d && mv /serve \"/$d/$d/żółw serve\"\n\
         CMD exec /0*/0*/*serve\n",
        "żółw serve]",
    ),
    Image {
        from: From::Layers("FROM scratch\nCOPY --from=0 /serve /serve\nCMD [\"/serve\"]\n"),
        ..serve("layers", "", "serve: user=0:0")
    },
    // Several processes.
    folder(
        "services",
        Ask::Http("A=[first]"),
        "zombies=0",
        "serve: stopped by 15",
    ),
    folder(
        "tini",
        Ask::Http("A=[tini]"),
        "zombies=0",
        "serve: stopped by 15",
    ),
    folder(
        "dumb-init",
        Ask::Http("A=[dumb]"),
        "zombies=0",
        "serve: stopped by 15",
    ),
    folder("s6", Ask::Http("A=[s6]"), "A=[s6]", "s6 ends"),
    folder(
        "runit",
        Ask::Http("A=[runit]"),
        "A=[runit]",
        // It ends at once, and what it started with it.
        "",
    ),
    folder(
        "supervisor",
        Ask::Http("A=[supervisor]"),
        "A=[supervisor]",
        "serve: stopped by 15",
    ),
    folder(
        "systemd",
        Ask::Http("user=5:60 euid=5 groups=60 cwd=/ first=no A=[systemd]"),
        "",
        "",
    ),
];
