// usage: node mlflow-client.cjs SERVER
// Does with the npm package `mlflow` what its README shows, and prints what the package got back as one line of JSON.
const MLflow = require('mlflow')
const { ViewType, RunStatus } = require('mlflow/enum')

console.log = () => {} // The package prints every body it sends.

const { Experiments, Runs, Metrics, Artifacts } = new MLflow({ endpoint: process.argv[2] })

async function refused(call) {
  try {
    await call
    return null
  } catch (error) {
    return JSON.parse(error.message.replace(/^Error: /, ''))
  }
}

async function main() {
  const saw = {}
  const name = `npm-client-${process.pid}`
  const { experiment_id } = await Experiments.create({ name })
  saw.experiment = (await Experiments.get({ experiment_id })).experiment
  saw.listed = (await Experiments.list()).experiments.map(experiment => experiment.name).includes(name)
  saw.taken = await refused(Experiments.create({ name }))
  await Experiments.update({ experiment_id, new_name: `${name}-renamed` })
  saw.renamed = (await Experiments.get({ experiment_id })).experiment.name === `${name}-renamed`

  const { run } = await Runs.create({ experiment_id, user_id: 'ada', start_time: 1700000000000, tags: [{ key: 'team', value: 'trees' }] })
  const { run_id } = run.info
  saw.created = run
  for (let step = 0; step < 5; step++) {
    await Runs.logMetric({ run_id, key: 'auc_score', value: 0.5 + step / 10, timestamp: 1700000000000 + step, step })
  }
  await Runs.logParameter({ run_id, key: 'depth', value: '6' })
  await Runs.logParameter({ run_id, key: 'depth', value: '6' })
  saw.changed = await refused(Runs.logParameter({ run_id, key: 'depth', value: '7' }))
  await Runs.setTag({ run_id, key: 'stage', value: 'draft' })
  await Runs.deleteTag({ run_id, key: 'stage' })
  await Runs.logBatch({
    run_id,
    metrics: [{ key: 'loss', value: 0.25, timestamp: 1700000000001, step: 1 }, { key: 'loss', value: 0.125, timestamp: 1700000000002, step: 2 }],
    params: [{ key: 'eta', value: '0.3' }],
    tags: [{ key: 'note', value: 'größer' }],
  })
  await Runs.update({ run_id, status: RunStatus.FINISHED, end_time: 1700000009000 })
  saw.run = (await Runs.get({ run_id })).run
  saw.history = (await Metrics.getHistory({ run_id, metric_key: 'auc_score' })).metrics
  saw.artifacts = await Artifacts.list({ run_id })

  const found = await Runs.search({ experiment_ids: [experiment_id], filter: 'metrics.auc_score > 0.8 AND params.depth = "6"', run_view_type: ViewType.ACTIVE_ONLY, order_by: ['metrics.loss ASC'] })
  saw.found = found.runs.map(each => each.info.run_id)
  saw.broken = await refused(Runs.search({ experiment_ids: [experiment_id], filter: 'metrics.auc_score >' }))
  saw.missing = await refused(Runs.get({ run_id: 'f'.repeat(32) }))

  await Runs.delete({ run_id })
  saw.deleted = (await Runs.get({ run_id })).run.info.lifecycle_stage
  await Runs.restore({ run_id })
  saw.restored = (await Runs.get({ run_id })).run.info.lifecycle_stage
  await Experiments.delete({ experiment_id })
  saw.experimentDeleted = (await Experiments.get({ experiment_id })).experiment.lifecycle_stage
  await Experiments.restore({ experiment_id })
  process.stdout.write(JSON.stringify(saw) + '\n')
}

main().catch(error => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
