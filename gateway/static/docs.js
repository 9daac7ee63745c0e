// Shows /openapi.json to people, and lets them try each call against this very gateway.
import { byId, make } from "/static/page.js";

const SHOWN_CHARS_MAX = 20_000;
const STREAMS = "text/event-stream";
let components = {};

const api = await (await fetch("/openapi.json")).json();
components = api.components.schemas;
byId("title").textContent = api.info.title;
byId("about").textContent = `${api.info.version}. ${api.info.description}`;
const groups = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, call] of Object.entries(methods)) {
    const tag = call.tags[0];
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push(operation(path, method, call));
  }
}
byId("calls").replaceChildren(...[...groups].map(([tag, calls]) => make("section", {}, make("h2", {}, tag), ...calls)));

function operation(path, method, call) {
  const details = make("details", { id: call.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("code", {}, path), make("span", { class: "faint" }, call.summary)));
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(opened(path, method, call)));
  return details;
}

function opened(path, method, call) {
  const inputs = (call.parameters ?? []).map((parameter) => ({ parameter, input: inputFor(parameter) }));
  const content = Object.entries(call.requestBody?.content ?? {})[0];
  const body = content && make("textarea", { "aria-label": "body", spellcheck: "false" });
  if (body) body.value = JSON.stringify(sample(content[1].schema), null, 2);
  const output = make("div", { "aria-live": "polite" });
  const send = () => request(path, method, inputs, content?.[0], body, output);
  return make("div", { class: "call" },
    call.description && make("p", {}, call.description),
    ...inputs.map(({ parameter, input }) => make("label", {}, make("code", {}, parameter.name), input, make("small", {}, parameter.description))),
    body && make("h3", {}, `Body, ${content[0]}`), body,
    make("button", { type: "button", onclick: send }, "Send"), output,
    content && make("h3", {}, "Shape of the body"), content && make("pre", {}, JSON.stringify(resolved(content[1].schema), null, 2)),
    make("h3", {}, "Answers"), answers(call.responses));
}

function inputFor(parameter) {
  const schema = parameter.schema;
  if (!schema.enum) return make("input", { placeholder: parameter.required ? "required" : "", autocomplete: "off" });
  return make("select", {}, make("option", { value: "" }, ""), ...schema.enum.map((value) => make("option", { value }, value)));
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, response]) => make("tr", {}, make("td", {}, status),
    make("td", {}, response.description), make("td", { class: "faint" }, Object.keys(response.headers ?? {}).join(", "))));
  return make("div", { class: "scroll" }, make("table", {}, make("tbody", {}, ...rows)));
}

async function request(path, method, inputs, mediaType, body, output) {
  const headers = {};
  const query = new URLSearchParams();
  let address = path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value === "") continue;
    else if (parameter.in === "query") query.set(parameter.name, input.value);
    else headers[parameter.name] = input.value;
  }
  if (mediaType) headers["Content-Type"] = mediaType;
  if (query.size) address += `?${query}`;
  try {
    const response = await fetch(address, { method: method.toUpperCase(), headers, body: body?.value });
    output.replaceChildren(...answered(method, address, response, await textOf(response)));
  } catch (error) {
    output.replaceChildren(make("pre", {}, String(error)));
  }
}

async function textOf(response) {
  if ((response.headers.get("Content-Type") ?? "").startsWith(STREAMS)) return "(a stream of events)";
  const text = await response.text();
  try {
    return JSON.stringify(JSON.parse(text), null, 2).slice(0, SHOWN_CHARS_MAX);
  } catch {
    return text.slice(0, SHOWN_CHARS_MAX);
  }
}

function answered(method, address, response, text) {
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return [make("h3", {}, `${method.toUpperCase()} ${address} → ${response.status}`), make("pre", {}, headers), make("pre", {}, text)];
}

function lookUp(schema) {
  return schema.$ref ? components[schema.$ref.split("/").at(-1)] : schema;
}

function resolved(schema, depth = 0) {
  if (depth > 8) return schema;
  const found = lookUp(schema);
  if (Array.isArray(found)) return found.map((part) => resolved(part, depth + 1));
  if (typeof found !== "object" || found === null) return found;
  return Object.fromEntries(Object.entries(found).map(([key, value]) => [key, typeof value === "object" && value !== null ? resolved(value, depth + 1) : value]));
}

function sample(schema) {
  const found = lookUp(schema);
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  if (found.anyOf) return sample(found.anyOf[0]);
  if (found.type === "object") {
    return Object.fromEntries(Object.entries(found.properties ?? {}).filter(([name]) => (found.required ?? []).includes(name)).map(([name, part]) => [name, sample(part)]));
  }
  if (found.type === "array") return [sample(found.items ?? {})];
  if (found.type === "integer" || found.type === "number") return Math.max(found.minimum ?? 1, 1);
  if (found.type === "boolean") return false;
  if (found.format === "date-time") return new Date().toISOString();
  return "example";
}
