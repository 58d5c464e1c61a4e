using Slipway.Contracts;
using Slipway.Contracts.Registry;
using Slipway.Registry.Versions;
using Slipway.Storage;

namespace Slipway.Registry;

public sealed partial class ModelRegistry
{
    /// <summary>Every model with its type, framework, owner, purpose and risk class, by name.</summary>
    public ModelInventory Inventory()
    {
        var models = ListModels();
        return database.Read(connection => new ModelInventory([.. models.Select(model =>
        {
            var newest = model.NewestVersion is { } version ? VersionTable.Find(connection, model.Name, version) : null;
            var profile = newest is null ? null : ProfileTable.Find(connection, model.Name, newest.Version);
            var external = profile?.External;
            return new InventoryEntry(
                model.Name, model.Kind, newest?.Format, profile?.Framework, external?.Provider, model.Owner, model.Purpose, model.RiskClass, external?.Licence,
                model.NewestVersion, model.ProductionVersion);
        })]));
    }

    /// <summary>Changes what is said of a model beside its versions.</summary>
    /// <exception cref="SlipwayException">NotFound; InvalidArgument: nothing to change, or a text that is empty or too long.</exception>
    public async Task<ModelSummary> DescribeAsync(string model, DescribeModel change, Caller by, CancellationToken cancellationToken)
    {
        if (change is { RiskClass: null, Purpose: null, Owner: null, Kind: null })
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "There is nothing to change; give 'risk_class', 'purpose', 'owner' or 'kind'.");
        }

        if (change.Owner is not null && (string.IsNullOrWhiteSpace(change.Owner) || change.Owner.Length > 250))
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'owner' must be a name of 1 to 250 characters.");
        }

        if (change.Purpose is { Length: > 5000 })
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, "'purpose' must have at most 5,000 characters.");
        }

        await database.WriteAsync(transaction =>
        {
            var before = ProfileTable.Facts(transaction.Connection, model)
                ?? throw new SlipwayException(ErrorCode.NotFound, $"There is no model '{model}'; GET /api/slipway/v1/models lists them.");
            var after = before with
            {
                RiskClass = change.RiskClass ?? before.RiskClass,
                Purpose = change.Purpose ?? before.Purpose,
                Owner = change.Owner ?? before.Owner,
                Kind = change.Kind ?? before.Kind,
            };
            ProfileTable.SetFacts(transaction, after);
            transaction.Audit(by, "model.described", new NodeRef(NodeKinds.Model, model), change.Reason, before, after);
        }, cancellationToken);
        return FindModel(model)!;
    }

    private static ModelSummary Describe(ModelSummary summary, ModelFacts facts) => summary with
    {
        RiskClass = facts.RiskClass,
        Kind = facts.Kind,
        Purpose = facts.Purpose,
        Owner = facts.Owner ?? summary.Owner,
    };
}
