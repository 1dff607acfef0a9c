//! Suggests which ports of a machine to forward, from its manifest.

use crate::deliver::manifest::{ENDING, Manifest};
use crate::vm::Forward;
use camino::Utf8Path;

/// A note about the ports that the container's service listens on and that are not forwarded.
/// `None` if there are none, or if there is no manifest next to the image.
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
            "the container's service listens on {}; forward with {}",
            ports.join(", "),
            options.join(" ")
        )
    })
}

/// The options for the TCP ports that are not forwarded yet.
fn options(ports: &[String], given: &[Forward]) -> Vec<String> {
    let tcp = ports.iter().filter_map(|p| match p.split_once('/') {
        Some((port, "tcp")) => port.parse::<u16>().ok(),
        Some(_) => None,
        None => p.parse().ok(),
    });
    tcp.filter(|guest| given.iter().all(|f| f.guest != *guest))
        .map(|guest| {
            // Only root can listen on lower ports of the host.
            let host = if guest < 1024 { guest + 8000 } else { guest };
            format!("--forward {host}:{guest}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_ports_that_are_not_forwarded() {
        let ports = ["80/tcp", "53/udp", "3000", "443/tcp", "8000-8010/tcp"].map(str::to_owned);
        let given = [Forward {
            host: 9000,
            guest: 443,
        }];
        let wanted = ["--forward 8080:80", "--forward 3000:3000"];
        assert_eq!(options(&ports, &given), wanted);
    }
}
