//! Prints docs/configuration.md.

fn main() {
    print!("{}", ringgate_config::reference());
}
