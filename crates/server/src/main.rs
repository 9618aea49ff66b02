//! The program `ally360`.

fn main() -> std::process::ExitCode {
    server::cli::main()
}
