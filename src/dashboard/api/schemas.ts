import type { Schema } from './route.ts'

export const text: Schema = { type: 'string' }
export const number: Schema = { type: 'number' }
export const flag: Schema = { type: 'boolean' }
/** Milliseconds since the Unix epoch. */
export const time: Schema = { type: 'integer', description: 'Milliseconds since the Unix epoch.' }

export const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] })
export const list = (items: Schema): Schema => ({ type: 'array', items })

/** Every field is there, and no other. */
export function object(properties: Readonly<Record<string, Schema>>): Schema {
  return {
    type: 'object',
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
  }
}

/** An attempt that failed. */
export const attemptSchema: Schema = object({
  attempt: number,
  at: time,
  code: text,
  causes: list(text),
})
