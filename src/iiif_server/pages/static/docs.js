// The documentation of the API, which asks this very server, wherever a proxy has put it.
const here = new URL(".", location.href);

// Swagger UI has a dark dress of its own, and wants to be told when to wear it.
const { documentElement } = document;
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function dress() {
  const { theme } = documentElement.dataset;
  documentElement.classList.toggle("dark-mode", theme ? theme === "dark" : dark.matches);
}
new MutationObserver(dress).observe(documentElement, { attributeFilter: ["data-theme"] });
dark.addEventListener("change", dress);
dress();

async function show() {
  const answer = await fetch(new URL("openapi.json", here));
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const spec = await answer.json();
  spec.servers = [{ url: here.href.replace(/\/$/, "") }];
  window.SwaggerUIBundle({
    spec,
    domNode: document.getElementById("swagger-ui"),
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    defaultModelRendering: "model",
    tryItOutEnabled: true,
    displayRequestDuration: true,
    validatorUrl: null,
  });
}

show().catch((error) => {
  const text = document.createElement("p");
  text.className = "empty";
  text.setAttribute("role", "alert");
  text.textContent = `The description of the API cannot be shown: ${error.message}`;
  document.getElementById("swagger-ui").replaceChildren(text);
});
