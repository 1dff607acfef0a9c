//! A machine with a second network card that has no cable.

use super::*;
use std::io::Write;
use std::os::unix::net::UnixListener;

/// Takes the cable out of QEMU's device `card` before the machine's first instruction: QEMU
/// connects its monitor to the socket before it starts the processors. Returns QEMU's arguments.
fn without_cable(card: &str, socket: &Utf8Path) -> Vec<String> {
    let monitor = UnixListener::bind(socket).unwrap();
    let command = format!("set_link {card} off\n");
    // A boot that was the emulator's fault is tried again, with a QEMU of its own.
    std::thread::spawn(move || {
        let mut connected = Vec::new();
        for stream in monitor.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(command.as_bytes()).unwrap();
            connected.push(stream);
        }
    });
    let arguments = [
        "-netdev",
        "user,id=unplugged,restrict=on",
        "-device",
        &format!("virtio-net-pci,id={card},netdev=unplugged,romfile="),
        "-chardev",
        &format!("socket,id=monitor,path={socket}"),
        "-mon",
        "chardev=monitor,mode=readline",
    ];
    arguments.map(str::to_owned).into()
}

/// When a unit's start began, in seconds of the kernel's clock.
fn began(guest: &mut Guest<'_>, unit: &str) -> f64 {
    time(guest, unit, "InactiveExitTimestampMonotonic")
}

/// When a unit's start was over, in seconds of the kernel's clock.
fn ended(guest: &mut Guest<'_>, unit: &str) -> f64 {
    time(guest, unit, "ActiveEnterTimestampMonotonic")
}

fn time(guest: &mut Guest<'_>, unit: &str, property: &str) -> f64 {
    let micros = guest.run(&format!("systemctl show --value -p {property} {unit}"));
    let micros: f64 = micros.parse().unwrap();
    assert!(micros > 0.0, "{unit} never came to {property}");
    micros / 1e6
}

#[test]
#[ignore = "boots a machine, which takes minutes without KVM"]
fn ifupdown_waits_for_no_card_without_a_cable() {
    let (_keep, dir) = temp();
    let Some(container) = derived("debian", "ifupdown", Some("Dockerfile.ifupdown")) else {
        return;
    };
    let login = machine::root_by_password(&dir);
    let made = make("debian", &container, &dir, &login, |_| ());
    let machine = Machine {
        extra: without_cable("card1", &dir.join("monitor")),
        ..Machine::new(Arch::Amd64, Firmware::Bios)
    };
    let mut session = machine::up(&machine, &made.image, &[PROMPT]).0;
    {
        let mut guest = Guest::open(&mut session, "root", PASSWORD);
        // The boot is over when this is.
        let late = "for n in $(seq 400); do systemctl is-active -q late && exit 0; sleep 1; done; systemctl list-jobs; ip addr; cat /etc/network/interfaces; exit 1";
        guest.run(late);
        guest.run("systemd-analyze critical-chain late.service; ip -br addr; cat /run/late; journalctl -b --no-pager -o short-monotonic -u 'ifup*' -u networking -u late");
        let cards = "for c in /sys/class/net/e*; do cat $c/carrier; done | sort | tr -d '\\n'";
        assert_eq!(guest.run(cards), "01");
        // It had the other card's address, and waited for nothing else.
        guest.run("grep -q '10\\.0\\.2\\.' /run/late");
        let leased = guest.run("journalctl -b --no-pager -o short-monotonic -u 'ifup@*' | sed -n 's/^\\[ *\\([0-9.]*\\)\\].* leased .*/\\1/p' | head -n 1");
        let leased: f64 = leased.parse().unwrap();
        let waited = began(&mut guest, "late.service") - leased;
        let raised =
            ended(&mut guest, "networking.service") - began(&mut guest, "networking.service");
        eprintln!(
            "networking.service: {raised:.1} s; from the lease to late.service: {waited:.1} s"
        );
        // dhcpcd gives up a card after 30 s (dhcpcd.conf(5), "timeout"), dhclient after minutes.
        assert!(waited < 25.0, "{waited} s");
        assert!(raised < 25.0, "{raised} s");
        assert_eq!(guest.run("systemctl --failed --no-legend --plain"), "");
    }
    off(session);
}
