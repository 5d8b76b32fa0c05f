//! `rtops-differential CORE…`: compares the polls of core files. It fails if anything differs.

use std::{
    env,
    error::Error,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use rtops_differential::{Comparison, compare};
use rtops_image::{Core, Options};

/// The maximum number of tasks; most of the others run the same code again.
const MOST: usize = 2000;

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for core in env::args_os().skip(1) {
        let path = Path::new(&core);
        let result = one(path);
        let is_equal = matches!(&result, Ok(comparison) if comparison.differences.is_empty());
        let text = match result {
            Ok(comparison) => comparison.to_string(),
            Err(error) => error.to_string(),
        };
        if writeln!(io::stdout(), "{}: {text}", path.display()).is_err() || !is_equal {
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn one(path: &Path) -> Result<Comparison, Box<dyn Error>> {
    let core = Core::open(path, &Options::default())?;
    for gap in core.gaps() {
        writeln!(io::stdout(), "{}: {gap}", path.display())?;
    }
    Ok(compare(&core, MOST)?)
}
