import { createHash, timingSafeEqual } from 'node:crypto'
import { problem } from '../http/problem.ts'
import { type Admission, allRights, type Right } from './rights.ts'

/** Who may come in. `open`: everybody who can reach it, which only a loopback address may be. */
export type Lock =
  | { readonly kind: 'token'; readonly token: string }
  | {
      readonly kind: 'access'
      readonly access: (request: Request) => Admission | Promise<Admission>
    }
  | { readonly kind: 'open' }

export interface Gate {
  /** The rights of whoever asks for data. Throws a problem for whoever has none. */
  readonly enter: (request: Request) => Promise<ReadonlySet<Right>>
  /** For the page itself, which holds no data. A token is given by its scripts, so not here. */
  readonly see: (request: Request) => Promise<void>
}

/** `allow`: what anybody may do at most. */
export function gateOf(lock: Lock, allow: ReadonlySet<Right>): Gate {
  if (lock.kind === 'open')
    return { enter: () => Promise.resolve(allow), see: () => Promise.resolve() }
  if (lock.kind === 'token')
    return { enter: withToken(lock.token, allow), see: () => Promise.resolve() }
  const enter = withAccess(lock.access, allow)
  return { enter, see: async (request) => void (await enter(request)) }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Compares digests, so that neither the time nor the length tells anything of the token. */
function withToken(token: string, allow: ReadonlySet<Right>): Gate['enter'] {
  const wanted = digest(token)
  return async (request) => {
    const given = /^bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1]
    if (given === undefined || !timingSafeEqual(digest(given), wanted))
      throw problem(401, 'no-token', 'Give the token of the dashboard.')
    return allow
  }
}

function withAccess(
  access: (request: Request) => Admission | Promise<Admission>,
  allow: ReadonlySet<Right>,
): Gate['enter'] {
  return async (request) => {
    let admission: unknown
    try {
      // A copy without a body: what it reads is not missing afterwards.
      admission = await access(new Request(request.url, { headers: request.headers }))
    } catch (cause) {
      const text = 'Whether you may see this cannot be found out now.'
      throw problem(500, 'access-failed', text, cause)
    }
    if (admission === true) return allow
    if (!Array.isArray(admission))
      throw problem(403, 'no-access', 'You may not see this dashboard.')
    const given = new Set<unknown>(admission)
    return new Set(allRights.filter((right) => allow.has(right) && given.has(right)))
  }
}
