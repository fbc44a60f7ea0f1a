import { deadLetter, deadLetters, discardLetters, retryLetters } from './dead.ts'
import { openapi } from './openapi.ts'
import { me, overview } from './overview.ts'
import { pause, pauses, resume } from './pauses.ts'
import { refused } from './refused.ts'
import type { Route } from './route.ts'
import { saga, sagas } from './sagas.ts'
import { way } from './way.ts'

/** Every call of the admin API, but the stream of events. */
export const routes: readonly Route[] = [
  me,
  overview,
  deadLetters,
  deadLetter,
  retryLetters,
  discardLetters,
  refused,
  pauses,
  pause,
  resume,
  sagas,
  saga,
  way,
]

export const description: object = openapi(routes)
