import { type Field, LONGEST_TEXT, type Route, type Schema } from './route.ts'
import { number, object, text } from './schemas.ts'

const problemSchema = object({ status: number, code: text, title: text })

/** The description of these calls, as OpenAPI 3.1 has it. */
export function openapi(routes: readonly Route[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const route of routes) {
    const path = (paths[`/api/${route.path}`] ??= {})
    path[route.method.toLowerCase()] = operation(route)
  }
  paths['/api/live'] = { get: liveOperation }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Mersal admin API',
      version: '1',
      description:
        'Beneath the dashboard, with the same rights. Changes are JSON, from the same origin or with a token.',
    },
    servers: [{ url: '..' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      schemas: { Problem: problemSchema },
    },
  }
}

const failed = {
  description: 'What went wrong.',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}

function operation({ method, path, summary, right, fields, answer }: Route): object {
  const content = { 'application/json': { schema: answer } }
  return {
    operationId: `${method.toLowerCase()}_${path.replaceAll(/\W+/g, '_')}`,
    summary,
    ...(right === undefined ? {} : { 'x-right': right }),
    ...(method === 'GET' ? { parameters: parameters(fields) } : { requestBody: body(fields) }),
    responses: { 200: { description: 'Done.', content }, default: failed },
  }
}

function parameters(fields: Route['fields']): readonly object[] {
  return Object.entries(fields).map(([name, field]) => ({
    name,
    in: 'query',
    required: field.required ?? false,
    description: field.text,
    schema: schemaOf(field),
  }))
}

function body(fields: Route['fields']): object {
  const entries = Object.entries(fields)
  const schema = {
    type: 'object',
    properties: Object.fromEntries(
      entries.map(([name, field]) => [name, { ...schemaOf(field), description: field.text }]),
    ),
    required: entries.filter(([, field]) => field.required === true).map(([name]) => name),
    additionalProperties: false,
  }
  return { required: true, content: { 'application/json': { schema } } }
}

function schemaOf({ kind, most, least = 0, choices }: Field): Schema {
  const schemas: Readonly<Record<Field['kind'], Schema>> = {
    text: { ...text, maxLength: most ?? LONGEST_TEXT },
    number: { type: 'integer', minimum: least, maximum: most },
    flag: { type: 'boolean' },
    texts: {
      type: 'array',
      items: { ...text, maxLength: LONGEST_TEXT },
      minItems: 1,
      maxItems: most,
    },
  }
  return { ...schemas[kind], ...(choices === undefined ? {} : { enum: choices }) }
}

const liveOperation = {
  operationId: 'get_live',
  summary: 'The overview again and again, as server-sent events. 503: enough pages are open.',
  responses: {
    200: { description: 'Events `overview`.', content: { 'text/event-stream': { schema: text } } },
    default: failed,
  },
}
