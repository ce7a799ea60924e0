//! Verification campaigns: the arithmetic units of the Verilated RTL against Berkeley SoftFloat, and functions against MPFR.
//!
//! | campaign | unit under test | cases |
//! |---|---|---|
//! | `product` | recode, multiply and normalise, as in every PE | all 2^32 pairs of FP16 numbers |
//! | `round` | FP32 to FP16 with its flag; FP16 to FP32 | all 2^32, and all 2^16 |
//! | `add` | the whole path of a PE: recode, product, partial-sum adder | a level-2 grid crossed with exact products |
//! | `vector` | a whole lane of the vector engine, operation by operation | level-2 grids |
//! | `functions` | exp, log, reciprocal, square root, tanh, sigmoid: compiled, on the model's vector engine | all 2^16 FP16 and 2^32 FP32 arguments |
//!
//! | module | what |
//! |---|---|
//! | [`units`] | the units, several side by side so that one clock cycle answers several cases |
//! | [`campaign`] | cases to threads, comparison, counts, the table row |
//! | [`grid`] | operands at which rounding, alignment and classes change |
//! | [`soft`] | the reference of the units |
//! | [`truth`] | the reference of the functions, and what is promised of them |
//!
//! The references share no code with the units or with the bit-exact model.

mod add;
mod campaign;
mod functions;
mod grid;
mod product;
mod round;
mod soft;
mod truth;
mod units;
mod vector;

use campaign::{CampaignError, Options, TableRow};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare the Verilated arithmetic units with Berkeley SoftFloat, bit for bit, and functions with MPFR
///
/// Every campaign writes <OUT>/<campaign>.csv when it ends: cases by class, differences, seed, hash of the emitted Verilog or of
/// the program, and the command. Exits with 8 if there was a difference, and never calls zero cases a pass.
#[derive(Parser)]
#[command(name = "campaign", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    which: Which,
    /// Threads, each with a simulator of its own
    #[arg(long, global = true, default_value_t = 2)]
    threads: usize,
    /// Check one case in so many only (for a quick look; the row says so)
    #[arg(long, global = true, default_value_t = 1, value_name = "STEP")]
    every: u64,
    /// Seed of random operands
    #[arg(long, global = true, default_value_t = 0)]
    seed: u64,
    /// Folder of the tables
    #[arg(long, global = true, default_value = "docs/verification")]
    out: PathBuf,
    /// Print the rows as one JSON object on stdout
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Clone, Copy)]
enum Which {
    /// All 2^32 products of two FP16 numbers
    Product,
    /// All 2^32 conversions FP32 → FP16 with the non-finite flag, all 2^16 conversions FP16 → FP32
    Round,
    /// The PE's adder: partial sums of every exponent crossed with exact products; cancellation, ties, classes
    Add,
    /// The vector engine's lane: multiply, add, multiply-add, min, max, selects, comparisons, narrowing
    Vector,
    /// exp, log, reciprocal, square root, tanh, sigmoid of all FP16 and FP32 numbers: how many ulp from the truth
    Functions,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let name = match cli.which {
        Which::Product => "product",
        Which::Round => "round",
        Which::Add => "add",
        Which::Vector => "vector",
        Which::Functions => "functions",
    };
    let every = if cli.every == 1 { String::new() } else { format!(" --every {}", cli.every) };
    let command = format!("cargo campaign {name} --seed {}{every}", cli.seed);
    let options = Options { threads: cli.threads, every: cli.every, seed: cli.seed, out: cli.out, command };
    let units = |rows: Result<Vec<campaign::Row>, _>| rows.and_then(|rows| finish(name, &rows, &options, cli.json));
    let finished = match cli.which {
        Which::Product => units(product::run(&options)),
        Which::Round => units(round::run(&options)),
        Which::Add => units(add::run(&options)),
        Which::Vector => units(vector::run(&options)),
        Which::Functions => functions::run(&options).and_then(|rows| finish(name, &rows, &options, cli.json)),
    };
    match finished {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(8),
        Err(e) => {
            eprintln!("error: {e}\n help: {}", e.help());
            ExitCode::from(match e {
                CampaignError::Value { .. } => 2,
                CampaignError::Io { .. } => 3,
                CampaignError::Tool(_) => 7,
            })
        }
    }
}

/// Writes a campaign's table and prints its rows; returns the number of differences.
fn finish<R: TableRow>(name: &str, rows: &[R], options: &Options, json: bool) -> Result<u64, CampaignError> {
    let path = campaign::write(name, rows, options)?;
    if json {
        println!("{}", serde_json::json!({ "campaign": name, "rows": rows }));
    } else {
        rows.iter().for_each(|row| println!("{row}"));
        println!("table {}", path.display());
    }
    Ok(rows.iter().map(R::differences).sum())
}
