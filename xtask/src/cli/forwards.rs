//! Which ports of a machine are worth leading to, as its manifest tells.

use crate::deliver::manifest::{ENDING, Manifest};
use crate::vm::Forward;
use camino::Utf8Path;

/// What to say of the ports that the container's service listens at and nobody leads to;
/// nothing if there are none, or if no manifest lies beside the image.
pub(super) fn suggestion(image: &Utf8Path, given: &[Forward]) -> Option<String> {
    let file = image.file_name()?;
    // `name.img`, but also `name.fixed.vhd`.
    let ends = file.match_indices('.').map(|(at, _)| &file[..at]);
    let manifest = ends
        .map(|name| image.with_file_name(format!("{name}{ENDING}")))
        .filter(|path| path.is_file())
        .find_map(|path| Manifest::read(&path).ok())?;
    let ports = manifest.container?.exposed_ports;
    let options = options(&ports, given);
    (!options.is_empty()).then(|| {
        format!(
            "the container's service listens at {}; {} leads there",
            ports.join(", "),
            options.join(" ")
        )
    })
}

/// The options for the TCP ports that are not led to yet.
fn options(ports: &[String], given: &[Forward]) -> Vec<String> {
    let tcp = ports.iter().filter_map(|p| match p.split_once('/') {
        Some((port, "tcp")) => port.parse::<u16>().ok(),
        Some(_) => None,
        None => p.parse().ok(),
    });
    tcp.filter(|guest| given.iter().all(|f| f.guest != *guest))
        .map(|guest| {
            // Lower ones are root's on the host.
            let host = if guest < 1024 { guest + 8000 } else { guest };
            format!("--forward {host}:{guest}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_ports_that_nobody_leads_to() {
        let ports = ["80/tcp", "53/udp", "3000", "443/tcp", "8000-8010/tcp"].map(str::to_owned);
        let given = [Forward {
            host: 9000,
            guest: 443,
        }];
        let wanted = ["--forward 8080:80", "--forward 3000:3000"];
        assert_eq!(options(&ports, &given), wanted);
    }
}
