//! Late interaction: each token of a query is compared with the tokens of a passage.

use crate::{embedder::normalise, tokens::Batch};

/// The vectors of each text's tokens, unit length, concatenated. Padding and special tokens are left out, unless there
/// are no others.
pub(super) fn tokens(values: &[f32], batch: &Batch) -> Vec<Vec<f32>> {
    let width = values.len() / (batch.rows * batch.columns).max(1);
    let rows = (0..batch.rows).map(|row| {
        let words = tokens_of(values, batch, row, width, Special::Skip);
        if words.is_empty() { tokens_of(values, batch, row, width, Special::Keep) } else { words }
    });
    rows.collect()
}

/// What happens to special tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    Keep,
    Skip,
}

/// The token vectors of one text, without padding.
fn tokens_of(values: &[f32], batch: &Batch, row: usize, width: usize, special: Special) -> Vec<f32> {
    let cells = row * batch.columns..(row + 1) * batch.columns;
    let mut vectors = Vec::new();
    for cell in cells.filter(|c| batch.mask[*c] == 1 && (special == Special::Keep || batch.special[*c] == 0)) {
        let from = vectors.len();
        vectors.extend_from_slice(&values[cell * width..][..width]);
        normalise(&mut vectors[from..]);
    }
    vectors
}

/// The mean, over the query's tokens, of the greatest cosine with a token of the passage; 0 if either has no tokens.
pub(super) fn score(question: &[f32], passage: &[f32], width: usize) -> f32 {
    let count = question.len() / width.max(1);
    if count == 0 || passage.is_empty() {
        return 0.0;
    }
    let nearest = |token: &[f32]| {
        let cosines = passage.chunks_exact(width).map(|other| dot(token, other));
        cosines.fold(f32::NEG_INFINITY, f32::max)
    };
    question.chunks_exact(width).map(nearest).sum::<f32>() / count as f32
}

/// Eight partial sums, so that the compiler can use vector instructions. The order of additions is fixed.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: usize, mask: &[i64], special: &[i64]) -> Batch {
        let columns = mask.len() / rows;
        Batch { rows, columns, mask: mask.to_vec(), special: special.to_vec(), ..Batch::default() }
    }

    #[test]
    fn padding_and_marks_are_no_tokens() {
        let values = [9.0, 9.0, 3.0, 4.0, 0.0, 2.0, 5.0, 0.0, 1.0, 1.0, 7.0, 7.0];
        let found = tokens(&values, &batch(2, &[1, 1, 1, 1, 1, 0], &[1, 0, 0, 1, 1, 0]));
        assert_eq!(found[0], [0.6, 0.8, 0.0, 1.0]);
        // A text of special tokens alone is scored by those.
        assert_eq!(found[1].len(), 4);
    }

    #[test]
    fn each_token_of_the_question_takes_its_nearest() {
        let question = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(score(&question, &[0.0, 1.0, 1.0, 0.0, -1.0, 0.0], 2), 1.0);
        assert_eq!(score(&question, &[0.0, 1.0], 2), 0.5);
        assert_eq!(score(&question, &[-1.0, 0.0], 2), -0.5);
        assert_eq!((score(&[], &[1.0, 0.0], 2), score(&question, &[], 2)), (0.0, 0.0));
        let wide: Vec<f32> = (0..19).map(|i| i as f32).collect();
        assert_eq!(dot(&wide, &wide), (0..19).map(|i| (i * i) as f32).sum::<f32>());
    }
}
