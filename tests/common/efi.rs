//! EFI programs.

/// The least EFI program that is one: a section `.text` with these bytes, and room for the headers
/// of ten more (Microsoft, "PE Format").
pub fn efi_program(text: &[u8]) -> Vec<u8> {
    const HEADERS: usize = 1024;
    let size = (text.len() as u32).next_multiple_of(512);
    let mut bytes = vec![0; HEADERS + size as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(60, &64_u32.to_le_bytes());
    put(64, b"PE\0\0\x64\x86\x01\0");
    put(84, &[240, 0, 0x06, 0x02]);
    // The optional header: PE32+, alignments, sizes, an EFI application, no data directories.
    put(88, &0x20b_u16.to_le_bytes());
    put(88 + 16, &4096_u32.to_le_bytes());
    put(88 + 32, &4096_u32.to_le_bytes());
    put(88 + 36, &512_u32.to_le_bytes());
    put(88 + 56, &(4096 + size).next_multiple_of(4096).to_le_bytes());
    put(88 + 60, &(HEADERS as u32).to_le_bytes());
    put(88 + 68, &[10, 0, 0x00, 0x01]);
    put(88 + 108, &16_u32.to_le_bytes());
    put(328, b".text");
    put(328 + 8, &(text.len() as u32).to_le_bytes());
    put(328 + 12, &4096_u32.to_le_bytes());
    put(328 + 16, &size.to_le_bytes());
    put(328 + 20, &(HEADERS as u32).to_le_bytes());
    put(328 + 36, &0x6000_0020_u32.to_le_bytes());
    put(HEADERS, text);
    bytes
}
