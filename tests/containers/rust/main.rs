//! A static service in Rust, for an image without anything else.
use std::io::{Read, Write};
fn main() {
    let listener = std::net::TcpListener::bind("0.0.0.0:80").unwrap();
    println!("Rust listens with {:?}", std::env::args().skip(1).collect::<Vec<_>>());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello from Rust\n");
    }
}
