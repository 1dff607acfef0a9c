//! Boot sectors of a few bytes that say something on the serial console.

/// What a boot sector does after its text.
pub enum Then {
    /// Sleeps forever.
    Halt,
    /// Writes every byte that it reads from the serial port back to it.
    Echo,
    /// Resets the machine.
    Reset,
    /// Writes its text again and again.
    Repeat,
}

/// A disk of 1 MiB with a boot sector that writes `text` to the first serial port.
pub fn boot_sector(text: &str, then: Then) -> Vec<u8> {
    let mut code = vec![
        0x31, 0xc0, //       xor ax, ax
        0x8e, 0xd8, //       mov ds, ax
        0xfc, //             cld
        0xbe, 0x40, 0x7c, // again: mov si, text
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xac, //             next: lodsb
        0x84, 0xc0, //       test al, al
        0x74, 0x03, //       jz end
        0xee, //             out dx, al
        0xeb, 0xf8, //       jmp next
    ];
    code.extend_from_slice(match then {
        Then::Halt => &[0xf4, 0xeb, 0xfd], // hlt; jmp to it
        Then::Repeat => &[0xeb, 0xf0],     // jmp again
        Then::Reset => &[
            0xb0, 0xfe, // mov al, 0xfe
            0xe6, 0x64, // out 0x64, al  ; the keyboard controller's reset line
            0xf4, //       hlt
        ],
        Then::Echo => &[
            0xba, 0xfd, 0x03, // wait: mov dx, 0x3fd
            0xec, //             in al, dx     ; line status
            0xa8, 0x01, //       test al, 1    ; something to read
            0x74, 0xf8, //       jz wait
            0xba, 0xf8, 0x03, // mov dx, 0x3f8
            0xec, //             in al, dx
            0xee, //             out dx, al
            0xeb, 0xf1, //       jmp wait
        ],
    });
    assert!(code.len() <= 0x40 && text.len() < 510 - 0x41);
    let mut sector = vec![0; 1 << 20];
    sector[..code.len()].copy_from_slice(&code);
    sector[0x40..0x40 + text.len()].copy_from_slice(text.as_bytes());
    sector[510..512].copy_from_slice(&[0x55, 0xaa]);
    sector
}
