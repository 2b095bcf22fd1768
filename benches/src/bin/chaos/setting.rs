//! The engines and placements under attack.

use std::fmt;

use tidegate::engine::{EngineKind, HandlerPlacement};

/// The engines, each attacked with each placement.
const ENGINES: [EngineKind; 2] = [EngineKind::Uring, EngineKind::Portable];

/// The placements of handlers.
const PLACEMENTS: [HandlerPlacement; 3] =
    [HandlerPlacement::Inline, HandlerPlacement::SameCore, HandlerPlacement::Threads(2)];

/// One engine and placement.
#[derive(Debug, Clone, Copy)]
pub struct Combination {
    pub engine: EngineKind,
    pub placement: HandlerPlacement,
}

impl Combination {
    /// Returns every combination of the engine and the placement, each or all.
    pub fn all(engine: Option<EngineKind>, placement: Option<HandlerPlacement>) -> Vec<Self> {
        let engines = engine.map_or(ENGINES.to_vec(), |engine| vec![engine]);
        let placements = placement.map_or(PLACEMENTS.to_vec(), |placement| vec![placement]);
        let pairs = engines.iter().flat_map(|&engine| placements.iter().map(move |&placement| (engine, placement)));
        pairs.map(|(engine, placement)| Self { engine, placement }).collect()
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.engine, self.placement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_chosen_is_attacked_in_every_form() {
        let names = |engine, placement| -> Vec<String> {
            Combination::all(engine, placement).iter().map(Combination::to_string).collect()
        };
        assert_eq!(names(None, None).len(), 6);
        assert_eq!(names(Some(EngineKind::Uring), Some(HandlerPlacement::SameCore)), ["uring/same-core"]);
        assert_eq!(names(Some(EngineKind::Uring), None).len(), 3);
    }
}
