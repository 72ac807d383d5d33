// Turning the pages of an original that has several: each has a viewer page of its own.

/** Has the field lead to the page that is entered; the keys that turn pages, none where there is one page. */
export function turningKeys() {
  const form = document.getElementById("turning");
  if (!form) return {};
  const field = document.getElementById("page");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { first, others } = form.dataset;
    const number = Math.max(1, parseInt(field.value, 10));
    location.assign(number === 1 ? first : others.replace("{page}", number));
  });
  const follow = (id) => () => document.getElementById(id).click();
  const [back, on] = [follow("previous-page"), follow("next-page")];
  return { PageUp: back, p: back, PageDown: on, n: on };
}
