// Copying addresses, and telling that it is done.

/** Makes every copy button copy the field that it names; `announce` tells people so. */
export function enableCopying(announce) {
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const field = document.getElementById(button.dataset.copies);
      if (!field.value) return;
      await copy(field);
      announce("Copied");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

async function copy(field) {
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Without TLS browsers have no clipboard for us; this is what they had before.
    field.select();
    document.execCommand("copy");
  }
}
