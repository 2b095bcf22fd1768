//! `Sec-WebSocket-Extensions`: extensions with their parameters, offered or agreed on (RFC 6455 section 9.1).
//!
//! ```text
//! list      = extension *( "," extension )         over one line or several
//! extension = token *( ";" parameter )
//! parameter = token [ "=" ( token | quoted-string of a token ) ]
//! ```

use crate::handshake::field;

/// The list does not follow its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// One extension of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extension<'h> {
    pub(super) name: &'h str,
    pub(super) parameters: Vec<Parameter<'h>>,
}

/// One parameter of an extension. Values are tokens, whether they were quoted or not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter<'h> {
    pub(super) name: &'h str,
    pub(super) value: Option<String>,
}

/// Parses all extensions of the lines, in order.
pub(super) fn parse<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Result<Vec<Extension<'h>>, Malformed> {
    let mut extensions = Vec::new();
    for line in lines {
        let mut rest = Rest(line);
        loop {
            rest.skip_spaces();
            // Empty elements are allowed in lists (RFC 9110 section 5.6.1.2).
            if !rest.0.is_empty() && rest.0[0] != b',' {
                extensions.push(rest.extension()?);
            }
            if rest.0.is_empty() {
                break;
            }
            rest.expect(b',')?;
        }
    }
    Ok(extensions)
}

/// The rest of a line.
struct Rest<'h>(&'h [u8]);

impl<'h> Rest<'h> {
    fn extension(&mut self) -> Result<Extension<'h>, Malformed> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') { Some(self.value()?) } else { None };
            parameters.push(Parameter { name, value });
        }
        Ok(Extension { name, parameters })
    }

    fn value(&mut self) -> Result<String, Malformed> {
        if !self.take(b'"') {
            return self.token().map(str::to_owned);
        }
        let mut value = Vec::new();
        loop {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            match byte {
                b'"' => break,
                b'\\' => {
                    let (escaped, rest) = self.0.split_first().ok_or(Malformed)?;
                    self.0 = rest;
                    value.push(*escaped);
                }
                byte => value.push(*byte),
            }
        }
        self.skip_spaces();
        field::token(&value).map(str::to_owned).ok_or(Malformed)
    }

    fn token(&mut self) -> Result<&'h str, Malformed> {
        self.skip_spaces();
        let len = self.0.iter().position(|byte| b",;=\" \t".contains(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        self.skip_spaces();
        field::token(token).ok_or(Malformed)
    }

    /// Takes this separator and the spaces around it, if it is next.
    fn take(&mut self, separator: u8) -> bool {
        let found = self.0.first() == Some(&separator);
        if found {
            self.0 = &self.0[1..];
            // Spaces inside of quotes belong to the value.
            if separator != b'"' {
                self.skip_spaces();
            }
        }
        found
    }

    fn expect(&mut self, separator: u8) -> Result<(), Malformed> {
        if self.take(separator) { Ok(()) } else { Err(Malformed) }
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(lines: &[&str]) -> Result<String, Malformed> {
        let extensions = parse(lines.iter().map(|line| line.as_bytes()))?;
        let show_parameter = |parameter: &Parameter<'_>| match &parameter.value {
            Some(value) => format!(";{}={value}", parameter.name),
            None => format!(";{}", parameter.name),
        };
        let show = |extension: &Extension<'_>| {
            extension.name.to_owned() + &extension.parameters.iter().map(show_parameter).collect::<String>()
        };
        Ok(extensions.iter().map(show).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn lists_over_several_lines_with_spaces_and_quotes() {
        for (lines, expected) in [
            (&[][..], ""),
            (&["", " , ,"], ""),
            (&["foo"], "foo"),
            (&["foo;a;b=1 , bar ; c = \"2\"", "foo"], "foo;a;b=1 bar;c=2 foo"),
            (&["foo; a=\"x\\y\""], "foo;a=xy"),
            (&["foo,,bar,"], "foo bar"),
        ] {
            assert_eq!(show(lines).as_deref(), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn malformed_lists_are_refused() {
        for line in
            ["foo bar", ";a", "foo;", "foo;;a", "foo;a=", "foo;=1", "foo;a=\"1", "foo;a=\"\"", "foo;a=\"b c\"", "f@o"]
        {
            assert_eq!(show(&[line]), Err(Malformed), "{line}");
        }
        for line in ["foo;a=\"1\"2", "foo;a=\"1\\", "foo=1", "foo;a=1=2", "\"foo\"", "foo;a=\"1,2\""] {
            assert_eq!(show(&[line]), Err(Malformed), "{line}");
        }
    }
}
