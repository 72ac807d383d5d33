// iiif-processor behind node:http: node server.mjs PORT FOLDER
// Dimensions are remembered, as its documentation advises; derivatives are not kept.
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { basename, join } from "node:path";
import { Processor } from "iiif-processor";
import sharp from "sharp";

const [port, folder] = process.argv.slice(2);
const dimensions = new Map();
const file = (id) => join(folder, basename(decodeURIComponent(id)));

async function dimensionFunction({ id }) {
  if (!dimensions.has(id)) {
    const { width, height } = await sharp(file(id), { limitInputPixels: false }).metadata();
    dimensions.set(id, { width, height });
  }
  return dimensions.get(id);
}

const server = createServer(async (request, response) => {
  try {
    const url = `http://${request.headers.host}/iiif/3${request.url}`;
    const options = { dimensionFunction, sharpOptions: { limitInputPixels: false } };
    const result = await new Processor(url, async ({ id }) => createReadStream(file(id)), options).execute();
    if (result.type !== "content") {
      response.writeHead(result.statusCode ?? 303).end();
      return;
    }
    response.writeHead(200, { "Content-Type": result.contentType });
    response.end(result.body);
  } catch (error) {
    response.writeHead(error.statusCode ?? 500).end(String(error.message));
  }
});
server.listen(Number(port), "127.0.0.1");
