//! Layers of a container image.

use super::*;

fn layers(all: &[Vec<u8>]) -> Result<Rootfs, TarError> {
    let (_guard, dir) = tmp();
    let mut layers = Layers::new(&dir, &Budget::default()).unwrap();
    for layer in all {
        layers.apply(std::io::Cursor::new(layer.clone()))?;
    }
    Ok(layers.finish()?)
}

#[test]
fn whiteouts_of_a_layer() {
    let lower = tar_of(|t| {
        entry(t, T::Regular, "etc/gone", b"");
        entry(t, T::Regular, "opt/old", b"");
        entry(t, T::Regular, "opt/sub/old", b"");
        entry(t, T::Regular, "var/x", b"");
    });
    let empty = vec![0; 1024];
    let marks: [fn(&mut Builder<Vec<u8>>); 3] = [
        |t| entry(t, T::Regular, "etc/.wh.gone", b""),
        |t| entry(t, T::Regular, "opt/.wh..wh..opq", b""),
        |t| entry(t, T::Regular, ".wh.var", b""),
    ];
    let news: [fn(&mut Builder<Vec<u8>>); 3] = [
        |t| entry(t, T::Regular, "opt/new", b"n"),
        |t| entry(t, T::Regular, "opt/sub/new", b"s"),
        |t| entry(t, T::Regular, "var/y", b"y"),
    ];
    // Whiteouts speak of lower layers only, so their place in the layer must not matter.
    let before = tar_of(|t| {
        marks.iter().for_each(|f| f(t));
        news.iter().for_each(|f| f(t));
    });
    let after = tar_of(|t| {
        news.iter().for_each(|f| f(t));
        marks.iter().for_each(|f| f(t));
    });
    for upper in [before, after] {
        let rootfs = layers(&[lower.clone(), empty.clone(), upper]).unwrap();
        let all = [
            "/etc",
            "/opt",
            "/opt/new",
            "/opt/sub",
            "/opt/sub/new",
            "/var",
            "/var/y",
        ];
        assert_eq!(names(&rootfs), all);
        assert_eq!(content(&rootfs, "/opt/sub/new").unwrap(), b"s");
    }
}

#[test]
fn a_layer_may_link_to_a_lower_one_and_change_kinds() {
    let lower = tar_of(|t| {
        entry(t, T::Regular, "a", b"text");
        entry(t, T::Regular, "dir/x", b"");
        entry(t, T::Regular, "file", b"");
    });
    let upper = tar_of(|t| {
        link(t, T::Link, "b", "a");
        entry(t, T::Regular, ".wh.a", b"");
        entry(t, T::Regular, "dir", b"now a file");
        entry(t, T::Regular, "file/x", b"");
        // What AUFS kept for itself.
        entry(t, T::Regular, ".wh..wh.plnk/1.2", b"");
    });
    // A file that becomes a directory has an entry of its own.
    assert!(layers(&[lower.clone(), upper.clone()]).is_err());
    let between = tar_of(|t| entry(t, T::Regular, ".wh.file", b""));
    let rootfs = layers(&[lower, between, upper]).unwrap();
    assert_eq!(names(&rootfs), ["/b", "/dir", "/file", "/file/x"]);
    assert_eq!(content(&rootfs, "/b").unwrap(), b"text");
    assert_eq!(content(&rootfs, "/dir").unwrap(), b"now a file");
}

#[test]
fn layers_made_to_do_harm_are_refused() {
    let refused = |f: fn(&mut Builder<Vec<u8>>)| layers(&[tar_of(f)]).unwrap_err().to_string();
    for name in ["etc/.wh.", "etc/.wh..", "etc/.wh..."] {
        let layer = tar_of(|t| entry(t, T::Regular, name, b""));
        let e = layers(&[layer]).unwrap_err().to_string();
        assert!(e.contains("names no file"), "{name}: {e}");
    }
    let e = refused(|t| entry(t, T::Regular, "../etc/passwd", b""));
    assert!(e.contains(".."), "{e}");
    let e = refused(|t| {
        t.append_pax_extensions([("path", "a/".repeat(4000).as_bytes())])
            .unwrap();
        entry(t, T::Regular, "x", b"");
    });
    assert!(e.contains("8000 bytes"), "{e}");
    let (_guard, dir) = tmp();
    let few = Budget::new(Limits {
        entries: Some(10),
        ..Limits::default()
    });
    let mut layers = Layers::new(&dir, &few).unwrap();
    let many = tar_of(|t| (0..20).for_each(|i| entry(t, T::Regular, &format!("{i}"), b"")));
    let e = layers.apply(std::io::Cursor::new(many)).unwrap_err();
    assert!(e.to_string().contains("more than 10"), "{e}");
}

/// A mark in every directory of a deep and wide tree takes no longer than the tree itself.
#[test]
fn opaque_marks_everywhere_are_cheap() {
    let dir = |n: usize| "d/".repeat(n);
    let layer = tar_of(|t| {
        for n in 0..2000 {
            entry(t, T::Regular, &format!("{}f{n}", dir(30)), b"");
        }
        for n in (0..30).rev() {
            for _ in 0..300 {
                entry(t, T::Regular, &format!("{}.wh..wh..opq", dir(n)), b"");
            }
        }
    });
    let begun = std::time::Instant::now();
    assert_eq!(names(&layers(&[layer]).unwrap()).len(), 2030);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
