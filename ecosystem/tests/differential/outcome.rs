//! What a stream meant to a server, in few words.

use crate::answers::{Answer, Answers};
use crate::cases::{AFTER, BEFORE, Case};
use crate::seen::Seen;

/// What one server made of one stream.
pub struct Outcome {
    /// As in the tables of `docs/conformance.md`.
    pub words: String,
    /// The request of the case, if the application got it.
    subject: Option<Seen>,
}

impl Outcome {
    pub fn of(case: &Case, answers: &Answers) -> Self {
        let mut answers = answers.0.as_slice();
        if case.has_before {
            match answers.split_first() {
                Some((first, rest)) if is_for(first, BEFORE) => answers = rest,
                _ => return Self { words: "loses the request before".to_owned(), subject: None },
            }
        }
        let Some((subject, mut rest)) = answers.split_first() else {
            return Self { words: "no answer".to_owned(), subject: None };
        };
        if is_for(subject, AFTER) {
            return Self { words: "ignored".to_owned(), subject: None };
        }
        let mut words = words_of(subject);
        let is_open = rest.first().is_some_and(|answer| is_for(answer, AFTER));
        if is_open {
            rest = &rest[1..];
        } else if rest.is_empty() && case.has_after && subject.seen.is_some() {
            words += ", closes";
        }
        if is_open && subject.seen.is_none() {
            words += ", stays open";
        }
        for answer in rest {
            words += ", then ";
            words += &words_of(answer);
        }
        Self { words, subject: subject.seen.clone() }
    }

    /// Returns the words for it beside the outcome of Tidegate: they add the parts of the request that were seen
    /// otherwise.
    pub fn beside(self, tidegate: &Outcome) -> String {
        let (Some(ours), Some(theirs)) = (&tidegate.subject, &self.subject) else { return self.words };
        let parts = [
            ("method", ours.method == theirs.method),
            ("path", ours.path == theirs.path),
            ("host", ours.host == theirs.host),
            ("fields", ours.fields == theirs.fields),
            ("content", ours.content == theirs.content),
        ];
        let others: Vec<_> = parts.into_iter().filter(|(_, same)| !same).map(|(part, _)| part).collect();
        if others.is_empty() { self.words } else { format!("{} (other {})", self.words, others.join(", ")) }
    }
}

fn is_for(answer: &Answer, path: &str) -> bool {
    answer.seen.as_ref().is_some_and(|seen| seen.path == path)
}

fn words_of(answer: &Answer) -> String {
    match (answer.status, &answer.seen) {
        (0, _) => "accepted as HTTP/0.9".to_owned(),
        (_, Some(_)) => "accepted".to_owned(),
        (status, None) => status.to_string(),
    }
}
