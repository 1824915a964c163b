//! Builds again when a migration is added: the compiler by itself only sees changes to the ones it knows.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
