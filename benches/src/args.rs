//! Command line arguments: `--name value` or `--name=value`, and switches without a value.
//!
//! Unknown names, missing values and repeated options are errors, so a typo cannot silently change the measurement.

use std::fmt::{Display, Write as _};
use std::str::FromStr;
use std::time::Duration;

/// The longest value of an option in seconds.
const SECONDS_MAX: f64 = 86_400.0;

/// One command line option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Name without the two dashes.
    pub name: &'static str,
    /// Placeholder for the value in the usage text; empty for a switch.
    pub value: &'static str,
    /// One line of help, with the default if there is one.
    pub help: &'static str,
    /// Whether the option can be repeated.
    pub repeats: bool,
}

impl Opt {
    /// Returns an option with a value, given at most once.
    #[must_use]
    pub const fn value(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { name, value, help, repeats: false }
    }

    /// Returns an option with a value, given any number of times.
    #[must_use]
    pub const fn list(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { name, value, help, repeats: true }
    }

    /// Returns an option without a value.
    #[must_use]
    pub const fn switch(name: &'static str, help: &'static str) -> Self {
        Self { name, value: "", help, repeats: false }
    }
}

/// Why arguments are rejected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgsError {
    /// The name is not one of the program's options.
    #[error("unknown argument {0:?}: --help lists the options")]
    Unknown(String),
    /// The option needs a value and is the last argument.
    #[error("--{0} needs a value")]
    NoValue(&'static str),
    /// The switch was given a value.
    #[error("--{0} takes no value")]
    NotAValue(&'static str),
    /// The option was given twice.
    #[error("--{0} was given twice: give it once")]
    Twice(&'static str),
    /// The option has no default and is absent.
    #[error("--{0} is required")]
    Required(&'static str),
    /// The value does not parse or is out of range.
    #[error("invalid --{name} {value:?}: {why}")]
    Invalid {
        /// The option.
        name: &'static str,
        /// The value as given.
        value: String,
        /// The reason.
        why: String,
    },
    /// `--help` was given. The text is the usage.
    #[error("{0}")]
    Help(String),
}

/// Parsed arguments.
#[derive(Debug)]
pub struct Args {
    pairs: Vec<(&'static str, String)>,
}

impl Args {
    /// Parses the arguments, without the program's name, against `options`.
    ///
    /// # Errors
    /// [`ArgsError::Help`] with the usage text for `--help`, or the first argument that is wrong.
    pub fn parse(words: impl IntoIterator<Item = String>, options: &'static [Opt]) -> Result<Self, ArgsError> {
        let mut pairs: Vec<(&'static str, String)> = Vec::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(text) = word.strip_prefix("--") else {
                return Err(ArgsError::Unknown(word));
            };
            if text == "help" {
                return Err(ArgsError::Help(usage(options)));
            }
            let (name, joined) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let Some(option) = options.iter().find(|option| option.name == name) else {
                return Err(ArgsError::Unknown(word));
            };
            let value = match (option.value.is_empty(), joined) {
                (true, None) => String::new(),
                (true, Some(_)) => return Err(ArgsError::NotAValue(option.name)),
                (false, Some(value)) => value,
                (false, None) => words.next().ok_or(ArgsError::NoValue(option.name))?,
            };
            if !option.repeats && pairs.iter().any(|(known, _)| *known == option.name) {
                return Err(ArgsError::Twice(option.name));
            }
            pairs.push((option.name, value));
        }
        Ok(Self { pairs })
    }

    /// Returns whether the option was given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(known, _)| *known == name)
    }

    /// Returns every value of a repeated option, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the option's value, or `None` if it is absent.
    ///
    /// # Errors
    /// [`ArgsError::Invalid`] if the value does not parse.
    pub fn optional<T>(&self, name: &'static str) -> Result<Option<T>, ArgsError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some((_, value)) = self.pairs.iter().find(|(known, _)| *known == name) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|why: T::Err| ArgsError::Invalid {
            name,
            value: value.clone(),
            why: why.to_string(),
        })
    }

    /// Returns the option's value.
    ///
    /// # Errors
    /// [`ArgsError::Required`] if it is absent, [`ArgsError::Invalid`] if it does not parse.
    pub fn required<T>(&self, name: &'static str) -> Result<T, ArgsError>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.optional(name)?.ok_or(ArgsError::Required(name))
    }

    /// Returns the option's value, or `default`. Both ends of `range` are included.
    ///
    /// # Errors
    /// [`ArgsError::Invalid`] if the value does not parse or lies outside `range`.
    pub fn within<T>(&self, name: &'static str, default: T, range: [T; 2]) -> Result<T, ArgsError>
    where
        T: FromStr + PartialOrd + Display + Copy,
        T::Err: Display,
    {
        let value = self.optional(name)?.unwrap_or(default);
        let [low, high] = range;
        if !(low..=high).contains(&value) {
            let why = format!("must be {low} to {high}");
            return Err(ArgsError::Invalid { name, value: value.to_string(), why });
        }
        Ok(value)
    }

    /// Returns the option's value in seconds, up to a day, or `default`.
    ///
    /// # Errors
    /// Those of [`Args::within`].
    pub fn seconds(&self, name: &'static str, default: f64) -> Result<Duration, ArgsError> {
        self.within(name, default, [0.0, SECONDS_MAX]).map(Duration::from_secs_f64)
    }
}

/// Returns the usage text: one line per option.
fn usage(options: &[Opt]) -> String {
    let mut text = String::from("options:");
    for option in options {
        let left = format!("--{} {}", option.name, option.value);
        let _ = write!(text, "\n  {left:<28} {}", option.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        Opt::value("size", "BYTES", "payload, 64"),
        Opt::switch("sliding", "slide"),
        Opt::list("server", "NAME=COMMAND", "a server"),
    ];

    fn parse(words: &[&str]) -> Result<Args, ArgsError> {
        Args::parse(words.iter().map(|word| (*word).to_owned()), OPTIONS)
    }

    #[test]
    fn both_spellings_switches_and_lists() {
        let args = parse(&["--size", "12", "--sliding", "--server", "a=b --x", "--server=c=d"]).unwrap();
        assert_eq!(args.required::<usize>("size"), Ok(12));
        assert!(args.has("sliding"));
        assert_eq!(args.all("server").collect::<Vec<_>>(), ["a=b --x", "c=d"]);
        assert_eq!(parse(&["--size=7"]).unwrap().required::<usize>("size"), Ok(7));
    }

    #[test]
    fn absent_options_have_defaults_or_are_required() {
        let args = parse(&[]).unwrap();
        assert!(!args.has("sliding"));
        assert_eq!(args.optional::<usize>("size"), Ok(None));
        assert_eq!(args.within("size", 64, [1, 100]), Ok(64));
        assert_eq!(args.seconds("size", 1.5), Ok(Duration::from_millis(1500)));
        assert_eq!(args.required::<usize>("size"), Err(ArgsError::Required("size")));
    }

    #[test]
    fn mistakes_are_refused() {
        assert_eq!(parse(&["--sise", "1"]).unwrap_err(), ArgsError::Unknown("--sise".into()));
        assert_eq!(parse(&["64"]).unwrap_err(), ArgsError::Unknown("64".into()));
        assert_eq!(parse(&["--size"]).unwrap_err(), ArgsError::NoValue("size"));
        assert_eq!(parse(&["--sliding=yes"]).unwrap_err(), ArgsError::NotAValue("sliding"));
        assert_eq!(parse(&["--size", "1", "--size", "2"]).unwrap_err(), ArgsError::Twice("size"));
        let args = parse(&["--size", "many"]).unwrap();
        assert!(matches!(args.required::<usize>("size"), Err(ArgsError::Invalid { name: "size", .. })));
        let args = parse(&["--size", "101"]).unwrap();
        assert!(matches!(args.within("size", 64, [1, 100]), Err(ArgsError::Invalid { name: "size", .. })));
        let args = parse(&["--size", "-1"]).unwrap();
        assert!(matches!(args.seconds("size", 1.0), Err(ArgsError::Invalid { name: "size", .. })));
    }

    #[test]
    fn help_lists_every_option() {
        let Err(ArgsError::Help(text)) = parse(&["--help"]) else { panic!("--help is an error with the usage") };
        for option in OPTIONS {
            assert!(text.contains(option.name) && text.contains(option.help));
        }
    }
}
