//! The command line of an example: options with defaults, arguments, `--help`, and exit code 2 for a wrong option.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::exit;
use std::str::FromStr;

use lexopt::{Arg, Parser, ValueExt};

/// One option: its name, followed by a placeholder if it takes a value, such as `--addr ADDRESS`; its default; its
/// purpose. Without dashes it is an argument that must be given, such as `URL`.
pub type Row<'a> = (&'a str, &'a str, &'a str);

/// The options of one run.
pub struct Options(Vec<Opt>);

struct Opt {
    name: String,
    default: String,
    given: Vec<String>,
}

impl Opt {
    fn is_argument(&self) -> bool {
        !self.name.starts_with('-')
    }
}

impl Options {
    /// Parses the command line. Prints `about` and the options for `--help`. Exits with code 2 if an option is unknown
    /// or has no value.
    pub fn parse(about: &str, rows: &[Row<'_>]) -> Self {
        let own = |(usage, default, _): &Row<'_>| Opt {
            name: usage.split(' ').next().unwrap_or_default().to_owned(),
            default: (*default).to_owned(),
            given: Vec::new(),
        };
        let mut options = Self(rows.iter().map(own).collect());
        match options.read(rows) {
            Ok(true) => {
                if let Some(missing) = options.0.iter().find(|option| option.is_argument() && option.given.is_empty()) {
                    refuse(&format_args!("missing argument {}", missing.name));
                }
                options
            }
            Ok(false) => {
                print_help(about, rows);
                exit(0)
            }
            Err(error) => refuse(&error),
        }
    }

    /// Reads the arguments; `false` if help is asked for.
    fn read(&mut self, rows: &[Row<'_>]) -> Result<bool, lexopt::Error> {
        let mut parser = Parser::from_env();
        while let Some(argument) = parser.next()? {
            let name = match &argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(false),
                Arg::Long(name) => format!("--{name}"),
                Arg::Value(value) => {
                    let free = self.0.iter_mut().find(|option| option.is_argument() && option.given.is_empty());
                    let Some(free) = free else { return Err(argument.unexpected()) };
                    free.given.push(value.clone().string()?);
                    continue;
                }
                _ => return Err(argument.unexpected()),
            };
            let Some(at) = self.0.iter().position(|option| option.name == name) else {
                return Err(argument.unexpected());
            };
            self.0[at].given.push(if rows[at].0 == name { String::new() } else { value(&mut parser, name)? });
        }
        Ok(true)
    }

    /// Returns the last value on the command line, empty for a flag; `None` if the option is not given.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str)
    }

    /// Returns every value on the command line, in order.
    pub fn all(&self, name: &str) -> &[String] {
        &self.option(name).given
    }

    /// Returns the value given, or the default. Exits with code 2 if it does not parse.
    pub fn value<T: FromStr<Err: Display>>(&self, name: &str) -> T {
        self.value_with(name, str::parse)
    }

    /// Returns the value as [`value`](Self::value) does, with a parser.
    pub fn value_with<T, E: Display>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> T {
        let text = self.given(name).unwrap_or(&self.option(name).default);
        parse(text).unwrap_or_else(|error| refuse(&format_args!("invalid value {text:?} for {name}: {error}")))
    }

    fn option(&self, name: &str) -> &Opt {
        self.0.iter().find(|option| option.name == name).expect("an option of this example")
    }
}

/// Returns the argument after the option. Fails if that is another option.
fn value(parser: &mut Parser, name: String) -> Result<String, lexopt::Error> {
    let value = parser.value()?.into_string().map_err(lexopt::Error::NonUnicodeValue)?;
    if value.starts_with("--") { Err(lexopt::Error::MissingValue { option: Some(name) }) } else { Ok(value) }
}

/// A reader that has gone has read enough.
fn print_help(about: &str, rows: &[Row<'_>]) {
    let arguments = rows.iter().filter(|(usage, ..)| !usage.starts_with('-')).map(|(usage, ..)| format!(" {usage}"));
    let (program, arguments) = (env!("CARGO_BIN_NAME"), arguments.collect::<String>());
    let mut help = format!("{about}\n\nUsage: {program} [OPTIONS]{arguments}\n\nOptions:\n");
    let width = rows.iter().map(|(usage, ..)| usage.len()).max().unwrap_or_default().max("--help".len());
    for (usage, default, text) in rows {
        let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
        help += &format!("  {usage:width$}  {text}{default}\n");
    }
    help += &format!("  {:width$}  print this help\n", "--help");
    let _ = io::stdout().write_all(help.as_bytes());
}

/// Prints what is wrong with the command line, and exits with code 2.
pub fn refuse(error: &dyn Display) -> ! {
    let program = env!("CARGO_BIN_NAME");
    let _ = writeln!(io::stderr(), "{program}: {error}\nTry '{program} --help'.");
    exit(2)
}
