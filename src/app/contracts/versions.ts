import { MersalError } from '../../core/errors/errors.ts'
import { type Envelope, type MessageType, headerNames } from '../../core/messages/message.ts'
import { invalidField } from '../../core/messages/validation.ts'
import { isLateAnswer } from '../../lib/async/late-answer.ts'
import { printable } from '../../lib/text.ts'

/**
 * Makes of the body of one version the body of the next. It gets what the serializer read, before
 * the schema sees it, and may change it. It must not wait.
 */
export type Upcaster = (body: never) => unknown

/** How bodies of one type have changed. */
export interface Versions {
  /** The version of the bodies that are sent, and that the handler gets. */
  readonly version: number
  /** Under each earlier version: what makes the next one of it. */
  readonly upcast: Readonly<Record<number, Upcaster>>
}

const LATEST = 1000

/** Throws `MERSAL_INVALID_MESSAGE` unless there is one step from each version to the next. */
export function checkVersions(what: string, given: Partial<Versions>): Versions {
  const { version = 1, upcast = {} } = given
  if (!isVersion(version) || version > LATEST)
    throw invalidField('version', `${what}: expected a whole number from 1 to ${LATEST}`)
  if (typeof upcast !== 'object' || upcast === null || Array.isArray(upcast))
    throw invalidField('upcast', `${what}: expected an object with a function for each version`)
  for (const name of Object.keys(upcast)) checkStepName(what, name, version)
  for (let from = 1; from < version; from++) {
    const step = upcast[from]
    if (typeof step === 'function') continue
    const text = `${what}: expected a function that makes version ${from + 1} of a body of version ${from}`
    throw invalidField(`upcast[${from}]`, text)
  }
  return { version, upcast: Object.freeze({ ...upcast }) }
}

const isVersion = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 1

function checkStepName(what: string, name: string, version: number): void {
  if (/^[1-9]\d*$/.test(name) && Number(name) < version) return
  const text = `${what}: there is nothing to be made of it, since ${version} is the present version`
  throw invalidField(`upcast[${printable(name, 30)}]`, text)
}

/**
 * The version of a body that came; 1 without the header. Throws `MERSAL_DECODE` if the header is no
 * version, and `MERSAL_FUTURE_VERSION` if this app knows only earlier ones.
 */
export function versionOf(type: MessageType, { headers }: Pick<Envelope, 'headers'>): number {
  const given = headers[headerNames.version]
  if (given === undefined) return 1
  const version = /^[1-9]\d{0,8}$/.test(given) ? Number(given) : undefined
  const known = type.version ?? 1
  const details = { type: type.name, version: version ?? given, known }
  if (version === undefined) {
    const text = `'${type.name}' came with the ${headerNames.version} '${printable(given, 30)}', which is no whole number from 1 on`
    throw new MersalError('MERSAL_DECODE', text, { details })
  }
  if (version <= known) return version
  const text = `'${type.name}' came as version ${version}, and this app knows version ${known} and earlier ones: deploy the newer definition of the type here`
  throw new MersalError('MERSAL_FUTURE_VERSION', text, { details })
}

/** The body as the present version has it. Throws `MERSAL_DECODE`, with the error of the step. */
export function upcastBody(type: MessageType, body: unknown, from: number): unknown {
  let current = body
  for (let version = from; version < (type.version ?? 1); version++)
    current = oneStep(type, current, version)
  return current
}

function oneStep(type: MessageType, body: unknown, from: number): unknown {
  const what = `the step from version ${from} to ${from + 1} of '${type.name}'`
  const details = { type: type.name, version: from }
  let next: unknown
  const step = type.upcast?.[from] as (body: unknown) => unknown
  try {
    next = step(body)
  } catch (cause) {
    throw new MersalError('MERSAL_DECODE', `${what} threw`, { cause, details })
  }
  if (!isLateAnswer(next)) return next
  throw new MersalError('MERSAL_DECODE', `${what} returned a promise: it must not wait`, {
    details,
  })
}
