export { instrument, type InstrumentOptions, type Watched } from './otel/instrument.ts'
