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

/** Fills in an image that exists. Without one the fields of names stay empty: a guess would be 404. */
function giveExamples(spec, identifier) {
  const existing = { identifier, identifiers: identifier && [identifier], place: identifier.split(":")[0] };
  const operations = Object.values(spec.paths).flatMap((path) => Object.values(path));
  for (const parameter of operations.flatMap((operation) => operation.parameters ?? [])) {
    const named = parameter.name in existing;
    const example = named ? existing[parameter.name] : parameter.schema?.examples?.[0];
    if (named) delete parameter.schema.examples;
    if (example !== undefined && example !== "") parameter.example = example;
  }
}

async function show() {
  const answer = await fetch(new URL("openapi.json", here));
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const spec = await answer.json();
  spec.servers = [{ url: here.href.replace(/\/$/, "") }];
  giveExamples(spec, document.getElementById("swagger-ui").dataset.example);
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
