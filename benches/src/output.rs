//! What programs print.
//!
//! `println!` panics if the reader of standard output has gone, as in `bench --list | head -1`. Programs print with the
//! macros [`outln`](crate::outln) and [`errln`](crate::errln) instead.

use std::fmt::Arguments;
use std::io::{self, Write as _};
use std::process;

/// Exit code of a program that cannot write to standard output, as in `sysexits.h`.
const CANNOT_WRITE: i32 = 74;

/// Prints a line on standard output. If its reader has gone, SIGPIPE ends the process, as it ends other programs.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => {
        $crate::output::print(format_args!($($text)*))
    };
}

/// Prints a line on standard error. If that fails, the line is lost.
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => {
        $crate::output::complain(format_args!($($text)*))
    };
}

#[doc(hidden)]
pub fn print(line: Arguments<'_>) {
    let Err(error) = writeln!(io::stdout().lock(), "{line}") else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        // SAFETY: both calls only concern this process's signals: the first restores the action that Rust's runtime has
        // replaced, which ends the process, and the second one sends the signal.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::raise(libc::SIGPIPE);
        }
    }
    complain(format_args!("cannot write to standard output: {error}"));
    process::exit(CANNOT_WRITE)
}

#[doc(hidden)]
pub fn complain(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
