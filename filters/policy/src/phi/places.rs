//! Every header in which a URL hides.

use super::reference::Fate;
use super::{Counts, PhiPolicy, Rejection, Scene, Way};
use crate::head::{RequestHead, ResponseHead};
use crate::url::Target;

impl PhiPolicy {
    /// Edits the headers of a request to this target.
    ///
    /// # Errors
    /// What is to be rejected.
    pub fn request_headers(
        &self,
        head: &mut RequestHead,
        _target: &Target<'_>,
        scene: &Scene<'_>,
    ) -> Result<Counts, Rejection> {
        let referer = head.first("referer").and_then(|value| std::str::from_utf8(value).ok());
        let keep = referer.is_none_or(|text| {
            text == "about:blank" || matches!(self.judge_reference(text, Way::In, scene), Fate::Keep)
        });
        if !keep || head.all("referer").count() > 1 {
            head.remove("referer");
        }
        Ok(Counts::default())
    }

    /// Edits the headers of a response.
    pub fn response_headers(&self, head: &mut ResponseHead, scene: &Scene<'_>) -> Counts {
        let Some(text) = head.first("location").and_then(|value| std::str::from_utf8(value).ok()) else {
            return Counts::default();
        };
        if let Fate::Replace(text) = self.judge_reference(text, Way::Out, scene) {
            head.set("location", text);
        }
        Counts::default()
    }
}
