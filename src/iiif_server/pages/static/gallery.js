// Thumbnails that cannot be made: the server may be busy, so each is asked for once more.
const AGAIN_AFTER = 4000;

function giveUp(image) {
  image.closest(".frame").classList.add("missing");
  image.remove();
}

function onError(event) {
  const image = event.target;
  if (image.dataset.again) {
    giveUp(image);
    return;
  }
  image.dataset.again = "yes";
  const address = image.src;
  setTimeout(() => {
    image.removeAttribute("src");
    image.src = address;
  }, AGAIN_AFTER);
}

for (const image of document.querySelectorAll(".frame img")) {
  image.addEventListener("error", onError);
  if (image.complete && !image.naturalWidth && image.loading !== "lazy") giveUp(image);
}
