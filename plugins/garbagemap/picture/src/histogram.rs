//! Dead tuples by block range, in the order of the blocks.

use crate::bins::Bins;
use crate::canvas::{DrawError, MARGIN, MOST_LINES, Rect, draw, empty, hatch, heading, spacing};
use crate::chart::{BOTTOM, LEFT, axis_text, grid_lines, labels, most_bars, with_air};
use crate::palette::{BAR, FAINT, hatch_over};
use crate::text::{compact, counted, per};
use crate::{Range, Size, Subject};
use plotters::prelude::*;

/// Draw the histogram of a table.
pub fn histogram(subject: &Subject, ranges: &[Range], size: Size) -> Result<String, DrawError> {
    let bins = Bins::at_most(ranges, most_bars(size, 0));
    let title = format!("Histogram of {}", subject.name);
    draw(size, &title, |sheet| {
        let bar_blocks = subject.range_blocks * bins.per_bin as u64;
        let mut more = Vec::new();
        if bins.per_bin > 1 {
            more.push(format!("each bar {}", counted(bar_blocks, "block")));
        }
        let total = bins.total();
        let top = heading(sheet, subject, "dead tuples by block", &total, &more)?;
        if bins.bins.is_empty() {
            return empty(sheet, top);
        }
        let most = bins.bins.iter().map(|b| b.dead).max().unwrap_or(0);
        let blocks = subject.blocks.max(1) as f64;
        let mut chart = ChartBuilder::on(sheet)
            .margin(MARGIN)
            .margin_top(top)
            .x_label_area_size(BOTTOM)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..blocks, 0.0..with_air(most))?;
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
            .x_desc("block")
            .y_desc(format!("dead tuples {}", per(bar_blocks, "block")))
            .draw()?;

        let span = |index: usize| {
            let start = index as f64 * bar_blocks as f64;
            (start, (start + bar_blocks as f64).min(blocks))
        };
        let plot = chart.plotting_area().clone();
        let unknown: Vec<Rect> = columns(bins.bins.iter().map(|b| b.inexact()))
            .map(|(first, last)| {
                let (x0, y1) = plot.map_coordinate(&(span(first).0, 0.0));
                let (x1, y0) = plot.map_coordinate(&(span(last).1, with_air(most)));
                Rect { x0, y0, x1, y1 }
            })
            .collect();
        let spacing = spacing(unknown.iter().copied(), MOST_LINES);
        for rect in unknown {
            hatch(sheet, rect, spacing, hatch_over(0))?;
        }
        chart.draw_series(
            bins.bins
                .iter()
                .enumerate()
                .filter(|(_, b)| b.dead > 0)
                .map(|(index, bin)| {
                    let (start, end) = span(index);
                    Rectangle::new([(start, 0.0), (end, bin.dead as f64)], BAR.filled())
                }),
        )?;
        Ok(())
    })
}

/// First and last of each row of neighbours for which something is true.
fn columns(flags: impl Iterator<Item = bool>) -> impl Iterator<Item = (usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, flag) in flags.enumerate() {
        match runs.last_mut() {
            Some((_, last)) if flag && *last + 1 == index => *last = index,
            _ if flag => runs.push((index, index)),
            _ => {}
        }
    }
    runs.into_iter()
}
