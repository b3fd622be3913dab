//! Ranges by dead tuples, most first, and the share of all garbage that the
//! first so many hold: how concentrated it is.

use crate::bins::Bins;
use crate::canvas::{DrawError, MARGIN, MOST_LINES, Rect, draw, empty, hatch, heading, spacing};
use crate::chart::{BOTTOM, LEFT, axis_text, grid_lines, labels, most_bars, with_air};
use crate::palette::{BAR, CURVE, FAINT, hatch_over};
use crate::text::{compact, per, percent};
use crate::{Known, Range, Size, Subject};
use plotters::prelude::*;

const RIGHT: i32 = 62;

/// Draw the sorted histogram of a table.
pub fn sorted_histogram(
    subject: &Subject,
    ranges: &[Range],
    size: Size,
) -> Result<String, DrawError> {
    let mut sorted: Vec<Range> = ranges.to_vec();
    // Those of which nothing is known stand at the end, not among those
    // without garbage.
    let key = |r: &Range| match r.known {
        Known::Nothing => None,
        _ => Some(r.dead),
    };
    sorted.sort_by_key(|r| std::cmp::Reverse(key(r)));
    let known = sorted.partition_point(|r| r.known != Known::Nothing);
    let bins = Bins::at_most(&sorted[..known], most_bars(size, RIGHT));
    let title = format!("Sorted histogram of {}", subject.name);
    draw(size, &title, |sheet| {
        let total = Bins::at_most(ranges, 1).total();
        let mut more = Vec::new();
        if let Some(half) = ranges_for_half(&sorted[..known], total.dead) {
            more.push(format!(
                "half of it in {} of the ranges",
                percent(half as u64, sorted.len() as u64)
            ));
        }
        let top = heading(sheet, subject, "dead tuples, most first", &total, &more)?;
        if sorted.is_empty() {
            return empty(sheet, top);
        }
        let most = u64::from(sorted.first().map_or(0, |r| r.dead));
        let share_of = |count: usize| count as f64 * 100.0 / sorted.len() as f64;
        let mut chart = ChartBuilder::on(sheet)
            .margin(MARGIN)
            .margin_top(top)
            .x_label_area_size(BOTTOM)
            .y_label_area_size(LEFT)
            .right_y_label_area_size(RIGHT)
            .build_cartesian_2d(0.0..100.0, 0.0..with_air(most))?
            .set_secondary_coord(0.0..100.0, 0.0..106.0);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(grid_lines())
            .axis_style(FAINT)
            .label_style(axis_text())
            .axis_desc_style(axis_text())
            .x_label_formatter(&|x| compact(*x))
            .y_labels(labels(most))
            .y_label_formatter(&|y| compact(*y))
            .x_desc("% of the ranges")
            .y_desc(format!(
                "dead tuples {}",
                per(subject.range_blocks, "block")
            ))
            .draw()?;
        chart
            .configure_secondary_axes()
            .axis_style(FAINT)
            .label_style(axis_text())
            .axis_desc_style(axis_text())
            .y_label_formatter(&|y| compact(*y))
            .y_desc("% of all dead tuples (line)")
            .draw()?;

        if known < sorted.len() {
            let plot = chart.plotting_area();
            let (x0, y1) = plot.map_coordinate(&(share_of(known), 0.0));
            let (x1, y0) = plot.map_coordinate(&(100.0, with_air(most)));
            let rect = Rect { x0, y0, x1, y1 };
            hatch(
                sheet,
                rect,
                spacing([rect].into_iter(), MOST_LINES),
                hatch_over(0),
            )?;
        }
        let end = |index: usize| ((index + 1) * bins.per_bin).min(known);
        chart.draw_series(
            bins.bins
                .iter()
                .enumerate()
                .filter(|(_, b)| b.dead > 0)
                .map(|(index, bin)| {
                    let from = share_of(index * bins.per_bin);
                    let height = bin.dead as f64 / bin.ranges as f64;
                    Rectangle::new([(from, 0.0), (share_of(end(index)), height)], BAR.filled())
                }),
        )?;
        if total.dead > 0 {
            let mut sum = 0;
            let mut points = vec![(0.0, 0.0)];
            for (index, bin) in bins.bins.iter().enumerate() {
                sum += bin.dead;
                points.push((share_of(end(index)), sum as f64 * 100.0 / total.dead as f64));
            }
            chart.draw_secondary_series([PathElement::new(points, CURVE.stroke_width(2))])?;
        }
        Ok(())
    })
}

/// How many of the first ranges hold half of the garbage.
fn ranges_for_half(sorted: &[Range], total: u64) -> Option<usize> {
    let mut sum = 0;
    let half = sorted.iter().position(|range| {
        sum += u64::from(range.dead);
        sum * 2 >= total && total > 0
    })?;
    Some(half + 1)
}
