// Cuts the OpenAPI document of @octokit/openapi (npm, MIT) to the operations that Deskbridge calls, and turns its schemas into JSON Schema.
// Run: npm pack @octokit/openapi, unpack it, and: node description.mjs package/generated/api.github.com.json 23.0.2 > description.json
import { readFileSync } from 'node:fs'

const WANTED = {
  '/user': ['get'],
  '/repos/{owner}/{repo}': ['get'],
  '/repos/{owner}/{repo}/issues': ['get', 'post'],
  '/repos/{owner}/{repo}/issues/{issue_number}': ['get', 'patch'],
  '/repos/{owner}/{repo}/issues/{issue_number}/comments': ['get', 'post'],
  '/repos/{owner}/{repo}/labels': ['get'],
}
// Parts of the answers that are not looked at, and are most of the document.
const CUT = new Set(['full-repository:parent', 'full-repository:source', 'full-repository:template_repository'])
const document = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const at = (ref) => ref.slice(2).split('/').reduce((node, key) => node[key.replaceAll('~1', '/')], document)
const schemas = {}

function reference(ref) {
  const name = ref.split('/').pop()
  if (!(name in schemas)) {
    schemas[name] = null
    schemas[name] = schema(at(ref), name)
  }
  return { $ref: `#/schemas/${name}` }
}

// OpenAPI 3.0 says `nullable` where JSON Schema has a type of its own; it means nothing without `type`, where it still stands beside `oneOf`.
function schema(node, name) {
  if (node.$ref) return reference(node.$ref)
  const kept = {}
  for (const key of ['type', 'enum', 'required', 'minItems', 'maxItems', 'minLength', 'maxLength', 'minimum', 'maximum', 'format', 'pattern']) {
    if (key in node) kept[key] = node[key]
  }
  for (const key of ['oneOf', 'anyOf', 'allOf']) if (node[key]) kept[key] = node[key].map((one) => schema(one))
  if (node.items) kept.items = schema(node.items)
  if (typeof node.additionalProperties === 'object') kept.additionalProperties = schema(node.additionalProperties)
  else if (node.additionalProperties === false) kept.additionalProperties = false
  if (node.properties) {
    kept.properties = {}
    for (const [key, one] of Object.entries(node.properties)) if (!CUT.has(`${name}:${key}`)) kept.properties[key] = schema(one)
  }
  if (node.nullable && kept.type) {
    kept.type = [kept.type, 'null']
    if (kept.enum && !kept.enum.includes(null)) kept.enum = [...kept.enum, null]
  } else if (node.nullable) {
    return { anyOf: [kept, { type: 'null' }] }
  }
  return kept
}

const json = (content) => content?.['application/json']
const example = (part) => part.example ?? Object.values(part.examples ?? {}).map((one) => (one.$ref ? at(one.$ref) : one).value)[0]
const operations = {}
for (const [path, methods] of Object.entries(WANTED)) {
  for (const method of methods) {
    const found = document.paths[path][method]
    const parameters = (found.parameters ?? []).map((one) => (one.$ref ? at(one.$ref) : one)).filter((one) => one.in === 'query')
    const operation = { query: Object.fromEntries(parameters.map((one) => [one.name, schema(one.schema)])), answers: {} }
    if (found.requestBody) operation.body = schema(json(found.requestBody.content).schema)
    for (const [status, answer] of Object.entries(found.responses)) {
      const part = json((answer.$ref ? at(answer.$ref) : answer).content)
      if (status === '304') continue
      operation.answers[status] = part ? schema(part.schema) : true
      if (part && /^2/.test(status)) operation.example = example(part)
    }
    operations[`${method.toUpperCase()} ${path}`] = operation
  }
}
for (const operation of Object.values(operations)) {
  const value = Array.isArray(operation.example) ? (operation.example.length = 1, operation.example[0]) : operation.example
  for (const key of ['parent', 'source', 'template_repository', 'organization', 'closed_by', 'reactions']) if (value) delete value[key]
}
const info = { from: `@octokit/openapi ${process.argv[3] ?? ''}, api.github.com`, version: document.info.version, licence: 'MIT, Copyright (c) 2020 Octokit contributors; description: MIT, Copyright (c) GitHub, Inc.' }
process.stdout.write(`{"info":${JSON.stringify(info)},\n"operations":{\n${Object.entries(operations).map(([key, one]) => `${JSON.stringify(key)}:${JSON.stringify(one)}`).join(',\n')}\n},\n"schemas":{\n${Object.entries(schemas).map(([key, one]) => `${JSON.stringify(key)}:${JSON.stringify(one)}`).join(',\n')}\n}}\n`)
