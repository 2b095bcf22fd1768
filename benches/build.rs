//! Linker arguments for the peer uWebSockets; does nothing without its feature.

/// The crate builds objects for GCC's link-time optimisation, which only GCC's own linker accepts, and does not declare
/// the libraries they need. The linker sees that need only after compiling those objects, so it must keep the libraries
/// in any case.
const ARGUMENTS: &[&str] = &["-fuse-ld=bfd", "-Wl,--no-as-needed", "-luv", "-lssl", "-lcrypto", "-lz", "-lstdc++"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_PEERS_UWEBSOCKETS").is_some() {
        ARGUMENTS.iter().for_each(|argument| println!("cargo:rustc-link-arg-bin=peers={argument}"));
    }
}
