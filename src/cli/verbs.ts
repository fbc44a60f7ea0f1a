import type { Verb } from './verb.ts'

/** Each verb is loaded only when it is asked for. */
export const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  init: async () => (await import('./init/init.ts')).init,
  migrate: async () => (await import('./migrate.ts')).migrate,
  relay: async () => (await import('./relay/relay.ts')).relay,
  status: async () => (await import('./status/status.ts')).status,
  pause: async () => (await import('./pause.ts')).pause,
  resume: async () => (await import('./pause.ts')).resume,
  replay: async () => (await import('./dead/replay.ts')).replay,
  dead: async () => (await import('./dead/dead.ts')).dead,
  refused: async () => (await import('./dead/refused.ts')).refused,
  saga: async () => (await import('./status/sagas.ts')).saga,
  dashboard: async () => (await import('./dashboard/dashboard.ts')).dashboard,
  prove: async () => (await import('./prove/prove.ts')).prove,
  doctor: async () => (await import('./doctor/doctor.ts')).doctor,
}
