//! What the linker has to be told for the peer uWebSockets; nothing without its feature.

/// Its crate gives objects for GCC's link-time optimisation, which only GCC's own linker takes, and does not say which
/// libraries they need. They are needed only once those objects are compiled, so they are kept whatever comes first.
const ARGUMENTS: &[&str] = &["-fuse-ld=bfd", "-Wl,--no-as-needed", "-luv", "-lssl", "-lcrypto", "-lz", "-lstdc++"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_PEERS_UWEBSOCKETS").is_some() {
        ARGUMENTS.iter().for_each(|argument| println!("cargo:rustc-link-arg-bin=peers={argument}"));
    }
}
