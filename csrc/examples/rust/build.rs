//! Links libfastnn.a from the folder that FASTNN_LIB names, or what pkg-config finds.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=FASTNN_LIB");
    if let Ok(folder) = std::env::var("FASTNN_LIB") {
        println!("cargo:rustc-link-search=native={folder}");
        println!("cargo:rustc-link-lib=static=fastnn");
        println!("cargo:rustc-link-lib=m");
        return;
    }
    let found = Command::new("pkg-config").args(["--libs", "fastnn"]).output();
    let found = found.expect("needs FASTNN_LIB, or pkg-config");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    for flag in String::from_utf8_lossy(&found.stdout).split_whitespace() {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo:rustc-link-lib={name}");
        }
    }
}
