//! A phrase in a row of words, after Knuth, Morris and Pratt ("Fast pattern matching in strings", 1977): a row costs its
//! words and the phrase's, not their product.

/// A sequence of words, by their numbers.
pub(crate) struct Phrase {
    words: Vec<u32>,
    /// For each length that fits, the next shorter one that may.
    back: Vec<usize>,
}

impl Phrase {
    pub(crate) fn new(words: Vec<u32>) -> Self {
        let mut back = vec![0; words.len() + 1];
        let mut fits = 0;
        for at in 1..words.len() {
            while fits > 0 && words[at] != words[fits] {
                fits = back[fits];
            }
            fits += usize::from(words[at] == words[fits]);
            back[at + 1] = fits;
        }
        Self { words, back }
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    /// Calls back with the place of each word with which the phrase ends, until told to stop.
    pub(crate) fn ends(&self, text: impl IntoIterator<Item = u32>, mut visit: impl FnMut(usize) -> bool) {
        let mut follower = Follower::default();
        for (at, word) in text.into_iter().enumerate() {
            if follower.ends_with(self, word) && !visit(at) {
                return;
            }
        }
    }

    /// Whether it stands there.
    pub(crate) fn stands_in(&self, text: impl IntoIterator<Item = u32>) -> bool {
        let mut stands = false;
        self.ends(text, |_| {
            stands = true;
            false
        });
        stands
    }
}

/// How far a phrase has been met in a row that comes word by word.
#[derive(Clone, Copy, Default)]
pub(crate) struct Follower {
    fits: usize,
}

impl Follower {
    /// Takes the next word of the row; says whether the phrase ends with it.
    pub(crate) fn ends_with(&mut self, phrase: &Phrase, word: u32) -> bool {
        while self.fits > 0 && phrase.words.get(self.fits) != Some(&word) {
            self.fits = phrase.back[self.fits];
        }
        self.fits += usize::from(phrase.words.get(self.fits) == Some(&word));
        self.fits == phrase.words.len() && self.fits > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn it_ends_where_it_was_compared_word_by_word(text in vec(0u32..3, 0..40), phrase in vec(0u32..3, 1..6)) {
            let expected: Vec<usize> =
                text.windows(phrase.len()).enumerate().filter(|(_, w)| *w == phrase).map(|(at, w)| at + w.len() - 1).collect();
            let mut found = Vec::new();
            let phrase = Phrase::new(phrase);
            phrase.ends(text.iter().copied(), |at| { found.push(at); true });
            prop_assert_eq!(phrase.stands_in(text.iter().copied()), !expected.is_empty());
            prop_assert_eq!(found, expected);
        }
    }
}
