//! The program `systole`; everything it does is in the library's `cli`.
fn main() -> std::process::ExitCode {
    systole::cli::main()
}
