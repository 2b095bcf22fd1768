//! Draws bar charts and line charts with plain axes and labels that do not overlap.
//!
//! Everything is placed in pixels, because labels must be. The SVG scales as a whole. Light background, dark text.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const FONT: &str = "sans-serif";
const TEXT: RGBColor = RGBColor(30, 30, 30);
const FAINT: RGBColor = RGBColor(225, 225, 225);
const TITLE_HEIGHT: i32 = 34;

/// A bar chart of several figures for the same servers: a row per server, a panel per figure.
pub struct Bars {
    /// Title of the chart.
    pub title: String,
    /// Servers and the colours of their bars.
    pub names: Vec<(String, RGBColor)>,
    /// One panel per figure.
    pub panels: Vec<Panel>,
}

/// One figure of every server.
pub struct Panel {
    /// Name and unit of the figure.
    pub title: String,
    /// Length of each bar and the text behind it.
    pub bars: Vec<(f64, String)>,
}

impl Bars {
    const NAMES_WIDTH: i32 = 165;
    const PANEL_WIDTH: i32 = 290;
    /// Part of a panel's width kept for the text behind the longest bar.
    const VALUE_WIDTH: i32 = 95;
    const ROW_HEIGHT: i32 = 22;

    /// Writes the chart as SVG.
    pub fn write(&self, path: &Path) -> Drawn {
        let width = Self::NAMES_WIDTH + Self::PANEL_WIDTH * self.panels.len() as i32;
        let top = TITLE_HEIGHT + 26;
        let height = top + Self::ROW_HEIGHT * self.names.len() as i32 + 10;
        let area = sheet(path, [width, height])?;
        text(&area, &self.title, [10, TITLE_HEIGHT / 2 + 2], 17, TEXT, HPos::Left)?;
        for (at, panel) in self.panels.iter().enumerate() {
            let left = Self::NAMES_WIDTH + Self::PANEL_WIDTH * at as i32;
            text(&area, &panel.title, [left, top - 14], 13, TEXT, HPos::Left)?;
            area.draw(&PathElement::new([(left, top - 3), (left, height - 8)], TEXT.stroke_width(1)))?;
            let longest = panel.bars.iter().map(|(value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
            for (row, ((value, behind), (_, colour))) in panel.bars.iter().zip(&self.names).enumerate() {
                let middle = top + Self::ROW_HEIGHT * row as i32 + Self::ROW_HEIGHT / 2;
                let length = (f64::from(Self::PANEL_WIDTH - Self::VALUE_WIDTH) * value / longest).round() as i32;
                let corners = [(left + 1, middle - 7), (left + 1 + length, middle + 7)];
                area.draw(&Rectangle::new(corners, colour.filled()))?;
                text(&area, behind, [left + length + 6, middle], 12, TEXT, HPos::Left)?;
            }
        }
        for (row, (name, _)) in self.names.iter().enumerate() {
            let middle = top + Self::ROW_HEIGHT * row as i32 + Self::ROW_HEIGHT / 2;
            text(&area, name, [Self::NAMES_WIDTH - 8, middle], 13, TEXT, HPos::Right)?;
        }
        Ok(area.present()?)
    }
}

/// A line chart over named places, with a logarithmic axis and each line's name at its end.
pub struct Lines {
    /// Title of the chart.
    pub title: String,
    /// Unit of the axis.
    pub unit: &'static str,
    /// Places, from left to right.
    pub places: Vec<String>,
    /// The lines.
    pub series: Vec<Series>,
}

/// One line.
pub struct Series {
    /// Name at the end of the line.
    pub name: String,
    /// Colour of the line.
    pub colour: RGBColor,
    /// Whether the line is thick and above the others.
    pub strong: bool,
    /// Value at each place, above 0.
    pub values: Vec<Option<f64>>,
}

impl Lines {
    const LEFT: i32 = 70;
    const NAMES_WIDTH: i32 = 180;
    const PLACE_WIDTH: i32 = 130;
    const HEIGHT: i32 = 420;
    const BOTTOM: i32 = 36;
    const LABEL_HEIGHT: i32 = 16;

    /// Writes the chart as SVG.
    pub fn write(&self, path: &Path) -> Drawn {
        let right = Self::LEFT + Self::PLACE_WIDTH * self.places.len() as i32;
        let height =
            (Self::HEIGHT + Self::BOTTOM).max(TITLE_HEIGHT + 60 + Self::LABEL_HEIGHT * self.series.len() as i32);
        let area = sheet(path, [right + Self::NAMES_WIDTH, height])?;
        text(&area, &self.title, [10, TITLE_HEIGHT / 2 + 2], 17, TEXT, HPos::Left)?;
        let axis = Axis::over(
            self.series.iter().flat_map(|series| series.values.iter().flatten().copied()),
            [height - Self::BOTTOM, TITLE_HEIGHT + 24],
        );
        text(&area, self.unit, [Self::LEFT - 8, TITLE_HEIGHT + 8], 12, TEXT, HPos::Right)?;
        for mark in axis.marks() {
            let y = axis.at(mark);
            area.draw(&PathElement::new([(Self::LEFT, y), (right, y)], FAINT.stroke_width(1)))?;
            text(&area, &mark_text(mark), [Self::LEFT - 8, y], 12, TEXT, HPos::Right)?;
        }
        for (at, place) in self.places.iter().enumerate() {
            text(&area, place, [Self::x(at), height - Self::BOTTOM + 18], 12, TEXT, HPos::Center)?;
        }
        // Strong lines last, on top of the others.
        for strong in [false, true] {
            for series in self.series.iter().filter(|series| series.strong == strong) {
                series.draw(&area, &axis)?;
            }
        }
        self.name_ends(&area, &axis, [TITLE_HEIGHT + 16, height - Self::BOTTOM + 8])?;
        Ok(area.present()?)
    }

    fn x(place: usize) -> i32 {
        Self::LEFT + Self::PLACE_WIDTH * place as i32 + Self::PLACE_WIDTH / 2
    }

    /// Writes each name next to the end of its line, moved up or down where names would overlap.
    fn name_ends(&self, area: &Area<'_>, axis: &Axis, [top, bottom]: [i32; 2]) -> Drawn {
        let mut ends: Vec<(i32, i32, &Series)> = Vec::new();
        for series in &self.series {
            let end = series.values.iter().enumerate().rev().find_map(|(at, value)| Some((at, (*value)?)));
            if let Some((at, value)) = end {
                ends.push((Self::x(at), axis.at(value), series));
            }
        }
        ends.sort_by_key(|(_, y, _)| *y);
        let wanted: Vec<i32> = ends.iter().map(|(_, y, _)| *y).collect();
        let left = Self::LEFT + Self::PLACE_WIDTH * self.places.len() as i32 - 30;
        for ((x, y, series), label) in ends.iter().zip(spread(&wanted, Self::LABEL_HEIGHT, [top, bottom])) {
            area.draw(&PathElement::new([(x + 6, *y), (left - 4, label)], series.colour.mix(0.5).stroke_width(1)))?;
            text(area, &series.name, [left, label], 13, series.colour, HPos::Left)?;
        }
        Ok(())
    }
}

impl Series {
    fn draw(&self, area: &Area<'_>, axis: &Axis) -> Drawn {
        let points: Vec<(i32, i32)> =
            self.values.iter().enumerate().filter_map(|(at, value)| Some((Lines::x(at), axis.at((*value)?)))).collect();
        let (width, radius) = if self.strong { (3, 4) } else { (1, 3) };
        for point in &points {
            area.draw(&Circle::new(*point, radius, self.colour.filled()))?;
        }
        area.draw(&PathElement::new(points, self.colour.stroke_width(width)))?;
        Ok(())
    }
}

/// A logarithmic axis between two heights.
struct Axis {
    low: f64,
    high: f64,
    bottom: i32,
    top: i32,
}

impl Axis {
    /// Returns an axis from the mark below the smallest value to the mark above the largest.
    fn over(values: impl Iterator<Item = f64>, [bottom, top]: [i32; 2]) -> Self {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let low = marks_between(low / 10.0, low).last().copied().unwrap_or(low);
        let high = marks_between(high, high * 10.0).first().copied().unwrap_or(high);
        Self { low, high: if high > low { high } else { low * 10.0 }, bottom, top }
    }

    fn at(&self, value: f64) -> i32 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.bottom - (share * f64::from(self.bottom - self.top)).round() as i32
    }

    fn marks(&self) -> Vec<f64> {
        let marks = marks_between(self.low, self.high);
        // Over several decades the marks at 2 and 5 would crowd the axis.
        if marks.len() <= 10 { marks } else { marks.into_iter().filter(|mark| leading_digit(*mark) == 1).collect() }
    }
}

/// Returns the numbers 1, 2 and 5 times a power of ten within the bounds.
fn marks_between(low: f64, high: f64) -> Vec<f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let all = (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    all.filter(|mark| (low * 0.999_999..=high * 1.000_001).contains(mark)).collect()
}

fn leading_digit(mark: f64) -> i32 {
    (mark / 10_f64.powf((mark.log10() + 1e-9).floor())).round() as i32
}

fn mark_text(mark: f64) -> String {
    if mark < 1.0 { format!("{mark:.2}") } else { crate::matrix::table::grouped(mark) }
}

/// Returns places near the wanted ones and in their order, at least `apart` from each other and, as far as they fit,
/// within bounds.
fn spread(wanted: &[i32], apart: i32, [top, bottom]: [i32; 2]) -> Vec<i32> {
    let mut places: Vec<i32> = Vec::with_capacity(wanted.len());
    for want in wanted {
        let least = places.last().map_or(top, |last| last + apart);
        places.push((*want).max(least));
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = (*place).min(most);
        most = *place - apart;
    }
    places
}

fn sheet(path: &Path, [width, height]: [i32; 2]) -> Result<Area<'_>, Box<dyn Error>> {
    let area = SVGBackend::new(path, (width.unsigned_abs(), height.unsigned_abs())).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// Writes a text that is vertically centred at the point.
fn text(area: &Area<'_>, words: &str, [x, y]: [i32; 2], size: i32, colour: RGBColor, side: HPos) -> Drawn {
    let style = (FONT, size).into_font().color(&colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), (x, y), style))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_apart_in_order_and_within_bounds() {
        assert_eq!(spread(&[10, 50, 90], 16, [0, 100]), [10, 50, 90]);
        assert_eq!(spread(&[50, 50, 52], 16, [0, 100]), [50, 66, 82]);
        assert_eq!(spread(&[90, 95, 99], 16, [0, 100]), [68, 84, 100]);
    }

    #[test]
    fn the_axis_ends_at_marks_around_the_values() {
        let axis = Axis::over([3.0, 70.0].into_iter(), [100, 0]);
        assert_eq!((axis.at(2.0), axis.at(100.0)), (100, 0));
        assert_eq!(axis.marks(), [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        let wide = Axis::over([1.0, 100_000.0].into_iter(), [100, 0]);
        assert_eq!(wide.marks(), [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]);
    }

    #[test]
    fn an_axis_without_values_or_with_one_is_still_an_axis() {
        for values in [vec![], vec![5.0]] {
            let axis = Axis::over(values.into_iter(), [100, 0]);
            assert!(axis.high > axis.low && !axis.marks().is_empty());
        }
    }
}
